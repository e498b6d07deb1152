#!/bin/sh
# Build RPMs with the names and versions of NVIDIA's and nothing in them; "DKMS" is a script that copies a file.
set -eu
mkdir -p /root/specs /srv/nvidia/rhel9/x86_64 /etc/pki/rpm-gpg /etc/dnf/plugins
spec() { # NAME VERSION REQUIRES [CONFLICTS] [POST] [POSTUN]; release, pre and files are variables
    cat >"/root/specs/$1-$2-${release:-1}.spec" <<END
Name: $1
Version: $2
Release: ${release:-1.el9}
Summary: a stand-in
License: none
AutoReqProv: no
${3:+Requires: $3}
${4:+Conflicts: $4}
%description
A stand-in with nothing in it.
%install
${files:+install -D -m 755 /root/files/$1 \$RPM_BUILD_ROOT$files}
%files
${files:-}
%pre
${pre:-true}
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
for one in /lib/modules/*/build; do to=\${one%/build}/updates/dkms/${kind%%:*}; mkdir -p \$to; cp /root/files/nvidia-$version-${kind%%:*}.ko \$to/nvidia.ko; done" \
            "[ \"\$1\" = 1 ] || rm -rf /lib/modules/*/updates/dkms/${kind%%:*}"
    done
    spec nvidia-driver-cuda "$version" nvidia-persistenced
    spec nvidia-persistenced "$version" ''
    spec nvidia-fabricmanager "$version" ''
    spec cuda-drivers "$version" "kmod-nvidia-latest-dkms = $version, nvidia-driver-cuda = $version"
    spec nvidia-open "$version" "kmod-nvidia-open-dkms = $version, nvidia-driver-cuda = $version"
done
spec python3-dnf-plugin-versionlock 1 ''
spec nvidia-container-toolkit 1.17.8 ''
for name in dkms gcc make datacenter-gpu-manager-4-cuda12 datacenter-gpu-manager-4-cuda13; do spec "$name" 1 ''; done
# CUDA: each toolkit tells the alternatives of itself; two versions of cuDNN and NCCL; a package of the site that gives way.
for toolkit in 12-8:12.8.93 12-9:12.9.86 13-0:13.0.88; do
    end=${toolkit%%:*} version=${toolkit#*:}
    short=${version%.*}
    files=/usr/local/cuda-$short/bin/nvcc spec "cuda-nvcc-$end" "$version" ''
    pre='[ ! -e /etc/gpufleet-fail-cuda ] || exit 1' spec "cuda-toolkit-$end-config-common" "$version" '' '' \
        "update-alternatives --install /usr/local/cuda cuda /usr/local/cuda-$short $(echo "$short" | tr -d .)"
    spec "cuda-toolkit-$end" "$version" "cuda-nvcc-$end, cuda-toolkit-$end-config-common"
done
sed -i '/^License/a Obsoletes: site-nvcc < 2' /root/specs/cuda-nvcc-13-0-*.spec
for name in site-nvcc gcc-c++; do spec "$name" 1 ''; done
for version in 9.10.2.21 9.28.0.42; do
    release=1 spec libcudnn9-cuda-12 "$version" ''
    release=1 spec libcudnn9-devel-cuda-12 "$version" "libcudnn9-cuda-12 = $version"
done
for version in 2.27.3:1+cuda12.9 2.32.3:1+cuda12.9 2.32.3:1+cuda13.0; do
    release=${version#*:} spec libnccl "${version%:*}" ''
    release=${version#*:} spec libnccl-devel "${version%:*}" "libnccl = ${version%:*}-${version#*:}"
done
printf '#!/bin/sh\n' >/usr/bin/dkms
chmod +x /usr/bin/dkms
spec shell 1 ''
sed -i '/^License/a Provides: /bin/sh' /root/specs/shell-1-1.spec
for file in /root/specs/*.spec; do
    rpmbuild --quiet -bb --target x86_64 --define "_rpmdir /root/rpms" "$file" >/dev/null 2>&1
done
gpg --batch --quiet --pinentry-mode loopback --passphrase '' --quick-generate-key rpm@example.org rsa2048 sign never
gpg --batch --armor --export rpm@example.org >/srv/nvidia/key.asc
gpg --batch --with-colons --list-keys rpm@example.org | sed -n 's/^fpr:*\([0-9A-F]*\):.*/\1/p' | head -1 >/srv/nvidia/fingerprint
cp $(find /root/rpms -name '*.rpm') /srv/nvidia/rhel9/x86_64/
rpmsign --define '__gpg /usr/bin/gpg' --define '_gpg_name rpm@example.org' --addsign /srv/nvidia/rhel9/x86_64/*.rpm >/dev/null
mkdir /srv/container
mv /srv/nvidia/rhel9/x86_64/nvidia-container-toolkit-*.rpm /srv/container/
createrepo_c --quiet /srv/container
cd /srv/nvidia/rhel9/x86_64
createrepo_c --quiet .
cp -r /srv/nvidia/rhel9 /srv/nvidia/rhel10
# The same after a rotation of the key.
gpg --batch --quiet --pinentry-mode loopback --passphrase '' --quick-generate-key second@example.org rsa2048 sign never
gpg --batch --armor --export second@example.org >/srv/nvidia/second.asc
gpg --batch --with-colons --list-keys second@example.org | sed -n 's/^fpr:*\([0-9A-F]*\):.*/\1/p' | head -1 >/srv/nvidia/second.fingerprint
mkdir -p /srv/rotated
cp -r /srv/nvidia/rhel9 /srv/rotated/
rpmsign --define '__gpg /usr/bin/gpg' --define '_gpg_name second@example.org' --resign /srv/rotated/rhel9/x86_64/*.rpm >/dev/null
createrepo_c --quiet /srv/rotated/rhel9/x86_64
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
mkdir -p /lib/modules/5.14.0-570.el9.x86_64/build
printf '[main]\nenabled=0\n' >/etc/dnf/plugins/local.conf # a plugin of Debian's dnf that adds a repository of its own
