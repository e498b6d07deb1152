#!/bin/sh
# Build RPMs with the names and versions of NVIDIA's and nothing in them; "DKMS" is a script that copies a file.
set -eu
mkdir -p /root/specs /srv/nvidia/rhel9/x86_64 /etc/pki/rpm-gpg /etc/dnf/plugins
spec() { # NAME VERSION REQUIRES [CONFLICTS] [POST]
    cat >"/root/specs/$1-$2.spec" <<END
Name: $1
Version: $2
Release: 1.el9
Summary: a stand-in
License: none
${3:+Requires: $3}
${4:+Conflicts: $4}
%description
A stand-in with nothing in it.
%files
%post
${5:-true}
%postun
${6:-true}
END
}
for version in 550.163.01 580.126.16 580.178.04; do
    for kind in latest:NVIDIA:kmod-nvidia-open-dkms 'open:Dual MIT/GPL:kmod-nvidia-latest-dkms'; do
        name=kmod-nvidia-${kind%%:*}-dkms other=${kind##*:}
        licence=${kind#*:} licence=${licence%:*}
        spec "$name" "$version" '' "$other" "[ \"\$(cat /etc/gpufleet-fail-build 2>/dev/null)\" != $version ] || exit 1
for one in /lib/modules/*/build; do to=\${one%/build}/updates/dkms/${kind%%:*}; mkdir -p \$to; cp /root/modules/nvidia-$version-${kind%%:*}.ko \$to/nvidia.ko; done" \
            "[ \"\$1\" = 1 ] || rm -rf /lib/modules/*/updates/dkms/${kind%%:*}"
    done
    spec nvidia-driver-cuda "$version" nvidia-persistenced
    spec nvidia-persistenced "$version" ''
    spec nvidia-fabricmanager "$version" ''
    spec cuda-drivers "$version" "kmod-nvidia-latest-dkms = $version, nvidia-driver-cuda = $version"
    spec nvidia-open "$version" "kmod-nvidia-open-dkms = $version, nvidia-driver-cuda = $version"
done
spec python3-dnf-plugin-versionlock 1 ''
for name in dkms gcc make datacenter-gpu-manager-4-cuda12 datacenter-gpu-manager-4-cuda13; do spec "$name" 1 ''; done
printf '#!/bin/sh\n' >/usr/bin/dkms
chmod +x /usr/bin/dkms
spec shell 1 ''
sed -i '/^License/a Provides: /bin/sh' /root/specs/shell-1.spec
for file in /root/specs/*.spec; do
    rpmbuild --quiet -bb --target x86_64 --define "_rpmdir /root/rpms" "$file" >/dev/null 2>&1
done
gpg --batch --quiet --pinentry-mode loopback --passphrase '' --quick-generate-key rpm@example.org rsa2048 sign never
gpg --batch --armor --export rpm@example.org >/srv/nvidia/key.asc
gpg --batch --with-colons --list-keys rpm@example.org | sed -n 's/^fpr:*\([0-9A-F]*\):.*/\1/p' | head -1 >/srv/nvidia/fingerprint
cp $(find /root/rpms -name '*.rpm') /srv/nvidia/rhel9/x86_64/
rpmsign --define '__gpg /usr/bin/gpg' --define '_gpg_name rpm@example.org' --addsign /srv/nvidia/rhel9/x86_64/*.rpm >/dev/null
cd /srv/nvidia/rhel9/x86_64
createrepo_c --quiet .
cp -r /srv/nvidia/rhel9 /srv/nvidia/rhel10
for stream in 550-dkms 580-dkms 580-open; do
    cat <<END
---
document: modulemd
version: 2
data:
  name: nvidia-driver
  stream: "$stream"
  version: 20260101000000
  context: abcdef01
  arch: x86_64
  summary: a stand-in
  description: a stand-in
  license:
    module: [none]
  profiles:
    default:
      rpms: [nvidia-driver-cuda]
  artifacts:
    rpms:
$(for file in *-"${stream%%-*}".*.rpm; do echo "    - $(rpm -qp --nosignature --qf '%{NAME}-0:%{VERSION}-%{RELEASE}.%{ARCH}' "$file")"; done)
END
done >/root/modules.yaml
modifyrepo_c --mdtype=modules /root/modules.yaml repodata
cp -r /srv/nvidia/rhel9 /srv/nvidia/rhel8
cat >/etc/dnf/dnf.conf <<END
[main]
gpgcheck=1
installonly_limit=3
clean_requirements_on_remove=True
END
rm -f /etc/os-release
cat >/etc/os-release <<END
NAME="Rocky Linux"
ID="rocky"
ID_LIKE="rhel centos fedora"
VERSION_ID="9.6"
PLATFORM_ID="platform:el9"
PRETTY_NAME="Rocky Linux 9.6 (Blue Onyx)"
END
mkdir -p /lib/modules/5.14.0-570.el9.x86_64/build /root/modules
printf '[main]\nenabled=0\n' >/etc/dnf/plugins/local.conf # a plugin of Debian's dnf that adds a repository of its own
