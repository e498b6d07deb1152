# -*- coding: utf-8 -*-
"""A set of files is written as one, and what is secret stays so."""

import os
import stat

import pytest
from ansible_collections.gpufleet.workstation.plugins.module_utils import _files as files

ME = {"owner": str(os.getuid()), "group": str(os.getgid())}


def a_file(path, content, **changes):
    return {"path": str(path), "content": content, "mode": "0644", "secret": False, **ME, **changes}


def a_folder(path, **changes):
    return {"path": str(path), "mode": "0755", **ME, **changes}


def apply(folders=(), listed=(), absent=()):
    steps = files.plan(list(folders), list(listed), [str(path) for path in absent], False)
    for step in steps:
        files.carry_out(*step)
    return [asked["path"] for asked, _there, _wanted in steps]


def mode(path):
    return stat.S_IMODE(os.stat(str(path)).st_mode)


def test_a_second_time_changes_nothing(tmp_path):
    asked = {
        "folders": [a_folder(tmp_path / "data", mode="1777")],
        "listed": [a_file(tmp_path / "new" / "a.conf", "a = ä\n"), a_file(tmp_path / "b.sh", "b\n", mode="0755")],
    }
    assert len(apply(**asked)) == 3
    assert (tmp_path / "new" / "a.conf").read_text(encoding="utf-8") == "a = ä\n"
    assert (mode(tmp_path / "data"), mode(tmp_path / "b.sh")) == (0o1777, 0o755)
    assert apply(**asked) == []


@pytest.mark.parametrize(
    "spoil", [lambda path: path.write_text("other", encoding="utf-8"), lambda path: path.chmod(0o666)]
)
def test_only_what_differs_is_mended(tmp_path, spoil):
    listed = [a_file(tmp_path / "a", "a\n"), a_file(tmp_path / "b", "b\n")]
    apply(listed=listed)
    spoil(tmp_path / "b")
    assert apply(listed=listed) == [str(tmp_path / "b")]
    assert (mode(tmp_path / "b"), (tmp_path / "b").read_text(encoding="utf-8")) == (0o644, "b\n")


def test_a_link_is_replaced_and_what_it_leads_to_left_alone(tmp_path):
    (tmp_path / "theirs").write_text("theirs", encoding="utf-8")
    (tmp_path / "ours").symlink_to("theirs")
    apply(listed=[a_file(tmp_path / "ours", "ours\n")])
    assert (tmp_path / "theirs").read_text(encoding="utf-8") == "theirs"
    assert not (tmp_path / "ours").is_symlink()


def test_nothing_is_written_where_anything_stands_in_the_way(tmp_path):
    (tmp_path / "b").mkdir()
    with pytest.raises(files.Refused, match="b is a folder where a file should be"):
        apply(listed=[a_file(tmp_path / "a", "a"), a_file(tmp_path / "b", "b")])
    with pytest.raises(files.Refused, match="there is no user nobody-has-this-name"):
        apply(listed=[a_file(tmp_path / "a", "a"), a_file(tmp_path / "c", "c", owner="nobody-has-this-name")])
    assert not (tmp_path / "a").exists()


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path):
    (tmp_path / "data").write_text("", encoding="utf-8")
    with pytest.raises(files.Refused, match="data is a file where a folder should be"):
        apply(folders=[a_folder(tmp_path / "data")])


def test_what_is_no_longer_wanted_goes_once(tmp_path):
    (tmp_path / "old").write_text("x", encoding="utf-8")
    assert apply(absent=[tmp_path / "old"]) == [str(tmp_path / "old")]
    assert apply(absent=[tmp_path / "old"]) == []


def test_an_interrupted_write_leaves_the_old_file_and_no_rest(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("old", encoding="utf-8")

    def fail(_source, _target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        apply(listed=[a_file(tmp_path / "a", "new")])
    assert os.listdir(str(tmp_path)) == ["a"]
    assert (tmp_path / "a").read_text(encoding="utf-8") == "old"


@pytest.mark.parametrize("text", ["rw-r--r--", "u+x", "99", "0o", "77777"])
def test_a_mode_that_is_none_is_refused(text):
    with pytest.raises(files.Refused, match="is no file mode"):
        files.parse_mode(text)


def test_a_diff_shows_content_and_mode_but_no_secret(tmp_path):
    (tmp_path / "a").write_text("canary-before", encoding="utf-8")
    os.chmod(str(tmp_path / "a"), 0o644)
    shown = {}
    for secret in (False, True):
        listed = [a_file(tmp_path / "a", "canary-after", mode="0640", secret=secret)]
        shown[secret] = str([files.show(*step) for step in files.plan([], listed, [], True)])
    assert "canary-before" in shown[False] and "canary-after" in shown[False] and "mode 0640" in shown[False]
    assert "canary" not in shown[True] and "mode 0640" in shown[True]


def test_what_was_closed_is_in_no_diff_when_it_is_opened(tmp_path):
    """The secret is out of the inventory, and still in force elsewhere."""
    (tmp_path / "a").write_text("canary", encoding="utf-8")
    os.chmod(str(tmp_path / "a"), 0o640)
    shown = str([files.show(*step) for step in files.plan([], [a_file(tmp_path / "a", "open")], [], True)])
    assert "canary" not in shown and "open" in shown


def test_in_check_mode_a_user_who_is_still_to_come_is_no_error(tmp_path):
    listed = [a_file(tmp_path / "a", "a", owner="still-to-come")]
    assert len(files.plan([], listed, [], True)) == 1


def test_bytes_come_in_base64(tmp_path):
    assert len(apply(listed=[a_file(tmp_path / "keytab", "BQIA\n/w==", base64=True, mode="0400", secret=True)])) == 1
    assert (tmp_path / "keytab").read_bytes() == b"\x05\x02\x00\xff" and mode(tmp_path / "keytab") == 0o400
    with pytest.raises(files.Refused, match="keytab is not Base64"):
        apply(listed=[a_file(tmp_path / "keytab", "BQIA/w=", base64=True)])
