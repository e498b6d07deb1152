"""What a user can rely on once a bare host went through the role bootstrap."""

testinfra_hosts = ["ansible://workstations"]


def test_the_host_has_a_python_that_modules_run_on(host):
    assert host.check_output("python3 -c 'import sys; print(sys.version_info >= (3, 6))'") == "True"


def test_the_python_is_the_distributions_and_stays_managed_by_it(host):
    marker = (
        host.check_output("python3 -c 'import sysconfig; print(sysconfig.get_path(\"stdlib\"))'")
        + "/EXTERNALLY-MANAGED"
    )
    assert "libpython3" in host.check_output("dpkg --search %s", marker)


def test_apt_waits_for_a_held_lock(host):
    assert 'DPkg::Lock::Timeout "600";' in host.check_output("apt-config dump")


def test_apt_goes_through_no_proxy_that_nobody_asked_for(host):
    assert "Acquire::http::Proxy" not in host.check_output("apt-config dump")


def test_the_sites_authorities_are_in_the_bundle_that_programs_read(host):
    folder = host.file("/usr/local/share/ca-certificates")
    for name in folder.listdir() if folder.exists else []:
        certificate = host.file(f"/usr/local/share/ca-certificates/{name}").content_string
        body = certificate.split("-----BEGIN CERTIFICATE-----")[1].split("-----END")[0].strip()
        assert body in host.file("/etc/ssl/certs/ca-certificates.crt").content_string, name


def test_no_package_is_left_half_installed(host):
    assert host.check_output("dpkg --audit") == ""
