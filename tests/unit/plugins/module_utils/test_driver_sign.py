# -*- coding: utf-8 -*-
"""The key that modules are signed with: what is refused, what DKMS is told, and what is built again."""

import base64
import os

import pytest
from ansible_collections.gpufleet.workstation.plugins.module_utils import _driver_sign as sign
from ansible_collections.gpufleet.workstation.plugins.module_utils._apt import Failed
from ansible_collections.gpufleet.workstation.plugins.module_utils._driver_host import Run, Wanted
from ansible_collections.gpufleet.workstation.plugins.module_utils._host import Result
from test_driver_load import RELEASE, Kernel

# A certificate made for this test; its key was thrown away. Its serial number is 0x0A1B2C3D.
CERTIFICATE = base64.b64decode("""
MIIBgTCCASegAwIBAgIEChssPTAKBggqhkjOPQQDAjAdMRswGQYDVQQDDBJMYWIgbW9kdWxlIHNpZ25pbmcwIBcNMjYxMTI4MDY1MzM0WhgPMj
EyNjExMDQwNjUzMzRaMB0xGzAZBgNVBAMMEkxhYiBtb2R1bGUgc2lnbmluZzBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABEfGQtDgfqq1hSKu
mAPubXoblqz4/S7gHa5kVTtLObz+Qce+8f9Sin9uXHTmNLwbyzfCzyOjIyKk6LaV4sTt1RijUzBRMB0GA1UdDgQWBBRtZWdFAcSHiZkWVfIq01
z+8FXL6jAfBgNVHSMEGDAWgBRtZWdFAcSHiZkWVfIq01z+8FXL6jAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIACEQockYjEY
8SoiWB8AiLkdMYcmbV2Pn1O54ZYx9kBiAiEA23o9q/bQZeN3C8NshQVWuyMcuxLXfF4o2PfWjvIFGqQ=
""")
PEM = b"-----BEGIN CERTIFICATE-----\n" + base64.b64encode(CERTIFICATE) + b"\n-----END CERTIFICATE-----\n"
SERIAL = "0A:1B:2C:3D"
KEY, DER = "/etc/pki/lab/modules.key", "/etc/pki/lab/modules.der"
MODINFO = "version: 535.261.03\nlicense: NVIDIA\nsig_id:         PKCS#7\nsigner:         {}\nsig_key:        {}\n"


def test_the_serial_number_of_a_certificate_is_what_modinfo_prints_of_a_module():
    assert sign.serial(CERTIFICATE) == SERIAL
    assert sign.der(PEM) == CERTIFICATE == sign.der(CERTIFICATE)
    assert sign.module_serial(MODINFO.format("Lab", SERIAL)) == SERIAL
    assert sign.module_serial(MODINFO.format("Lab", "00:0A:1B:2C:3D")) == SERIAL
    assert sign.module_serial("version: 1\n") is None
    for nothing in (b"", b"0", b"-----BEGIN CERTIFICATE-----\n!\n-----END", CERTIFICATE[:20], b"a" * 500):
        assert sign.der(nothing) is None


def test_dkms_signs_with_what_its_last_configuration_names():
    texts = [
        "# mok_certificate=/no\nmok_certificate=/a.pub\n",
        '\nmok_certificate="/var/lib/shim-signed/mok/MOK.der" # x',
    ]
    assert sign.configured(texts) == "/var/lib/shim-signed/mok/MOK.der"
    assert sign.configured(texts[:1]) == "/a.pub" and sign.configured([]) is None


class Signing(Kernel):
    """A host with Secure Boot, whose DKMS signs with what its configuration names."""

    trusted = (DER,)
    pairs = True
    signer = "7E:11"
    ignores = False

    def run(self, argv, timeout, env=None, pass_fds=()):
        self.commands.append(" ".join(argv))
        if argv[0] == "mokutil":
            said = (
                "is already enrolled" if argv[-1] in [self.path(name) for name in self.trusted] else "is not enrolled"
            )
            return Result(1, f"{argv[-1]} {said}\n", "", None)
        if argv[:2] == ["openssl", "pkey"]:
            return Result(0, "PUBLIC\n", "", None) if self.pairs is not None else Result(1, "", "no key", None)
        if argv[:2] == ["openssl", "x509"]:
            return Result(0, "PUBLIC\n" if self.pairs else "OTHER\n", "", None)
        if argv[0] == "modinfo":
            return Result(0, MODINFO.format("somebody", self.signer), "", None)
        if argv[:2] == ["dkms", "build"] and not self.ignores:
            self.signer = SERIAL
        return Result(0, "", "", None)


@pytest.fixture
def host(tmp_path):
    one = Signing(tmp_path)
    one.put("sys/module/module/parameters/sig_enforce", "Y")
    one.put(KEY, "a secret")
    os.chmod(one.path(KEY), 0o600)
    one.put(DER, "")
    with open(one.path(DER), "wb") as file:
        file.write(CERTIFICATE)
    one.put("var/lib/dkms/nvidia-current/535.261.03/source/a", "")
    one.put(f"lib/modules/{RELEASE}/updates/dkms/nvidia-current.ko", "")
    return one


def of(host, check_mode=False, **wanted):
    return Run(host, Wanted(**{"signing_key": KEY, "signing_certificate": DER, **wanted}), check_mode)


def test_a_key_that_is_enrolled_is_taken_and_its_file_is_not_read(host, monkeypatch):
    monkeypatch.setattr(
        type(host),
        "read_text",
        lambda self, path, *a, **k: "" if path == KEY else Kernel.read_text(self, path, *a, **k),
    )
    run = of(host)
    assert run.machine.enforced
    run.refuse_key()
    run.refuse_unsigned(False)
    assert host.commands[-1].startswith("mokutil --test-key") and host.commands[-1].endswith(DER)
    run.sign()
    assert f'mok_signing_key="{KEY}"\nmok_certificate="{DER}"\n' in host.read_text(sign.CONF) + "\n"
    assert "a secret" not in str(run.diff)


def test_what_another_key_signed_is_built_again_once(host):
    run = of(host)
    run.sign_again()
    assert run.reasons == [f"the modules of kernel {RELEASE} are signed with another key than the site's"]
    deeds = [line for line in host.commands if line.startswith("dkms")]
    assert deeds == [f"dkms {deed} --force nvidia-current/535.261.03 -k {RELEASE}" for deed in ("build", "install")]
    again = of(host)
    again.sign_again()
    assert again.reasons == []


def test_check_mode_builds_nothing_and_says_that_it_would(host):
    run = of(host, check_mode=True)
    run.sign()
    run.sign_again()
    assert len(run.reasons) == 2 and not host.exists(sign.CONF)
    assert not any(line.startswith("dkms") for line in host.commands)


def test_a_dkms_that_does_not_sign_so_is_an_error_and_no_success(host):
    host.ignores = True
    with pytest.raises(Failed, match=f"DKMS does not sign the modules of kernel {RELEASE} with {KEY}"):
        of(host).sign_again()


def test_without_a_key_of_the_site_nothing_is_compared(host):
    run = of(host, signing_key="", signing_certificate="")
    run.sign()
    run.sign_again()
    assert run.reasons == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda host: setattr(host, "trusted", ()), f"does not trust {DER}.*mokutil --import"),
        (lambda host: setattr(host, "pairs", False), "does not belong to"),
        (lambda host: setattr(host, "pairs", None), "no private key, or one with a password"),
        (lambda host: os.chmod(host.path(KEY), 0o640), r"open to others than its owner \(mode 0640\)"),
        (lambda host: os.unlink(host.path(KEY)), "is not on the host"),
        (lambda host: host.put(DER, "nothing"), "is no X.509 certificate"),
        (lambda host: host.put(DER, PEM.decode()), "is in PEM"),
    ],
    ids=["not enrolled", "not a pair", "not a key", "open", "absent", "no certificate", "pem"],
)
def test_a_key_that_cannot_be_signed_with_is_refused(host, change, words):
    change(host)
    with pytest.raises(Failed, match=words + "(?s:.*)Nothing was changed"):
        of(host).refuse_key()


def test_a_key_without_its_certificate_is_refused(host):
    with pytest.raises(Failed, match="belong together"):
        of(host, signing_certificate="").refuse_key()


def test_a_token_needs_no_file(host):
    os.unlink(host.path(KEY))
    of(host, signing_key="pkcs11:token=lab;object=modules").refuse_key()


def test_without_a_key_of_the_site_the_one_that_dkms_is_told_of_must_be_enrolled(host):
    bare = {"signing_key": "", "signing_certificate": ""}
    host.put("var/lib/dkms/mok.pub", "x")
    with pytest.raises(Failed, match="nvidia_driver_signing_key"):
        of(host, **bare).refuse_unsigned(False)
    host.trusted = ("/var/lib/dkms/mok.pub",)
    of(host, **bare).refuse_unsigned(False)
    host.put("etc/dkms/framework.conf", "mok_certificate=/var/lib/shim-signed/mok/MOK.der\n")
    host.put("var/lib/shim-signed/mok/MOK.der", "x")
    with pytest.raises(Failed, match="does not trust the key that DKMS signs"):
        of(host, **bare).refuse_unsigned(False)
    of(host, **bare).refuse_unsigned(True)
