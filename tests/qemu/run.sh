#!/usr/bin/env bash
# Proves `kstack script gdb` (and crash, drgn where they are installed) on a kernel that runs: boots a Debian kernel with KASLR in QEMU, lets
# tasks hang in ZFS, ext4, dm and a module of our own, takes a capture of that very boot, writes the script with kstack, attaches gdb to
# QEMU's stub, and compares for every frame of the hung stacks what gdb, kstack, llvm-symbolizer and addr2line say: prove.py. Ends with 0
# when all is equal, 1 when something differs. What is needed and absent is named, and then nothing is proven, with exit status 0 too,
# or 1 with KSTACK_NEEDS_QEMU=1.
#
# usage: tests/qemu/run.sh [--prepare]
#   --prepare  first downloads Debian's kernel and its debug symbols below KSTACK_LAB (0.95 GB, 5.9 GB unpacked; needs apt-get, not root)
#   KSTACK_LAB      folder of the lab, ~/.cache/kstack-lab: root/ is where packages were unpacked, sym/ has modules from outside the
#                   kernel, with debug info. With zfs.ko there, and zpool on this machine, tasks hang in ZFS too.
#   KSTACK_KREL     kernel release; by default the last of those that root/ has debug symbols of
#   KSTACK_VMLINUX, KSTACK_VMLINUZ, KSTACK_MODULES   vmlinux with debug info, the kernel to boot, folder of .ko files with debug info
#   KSTACK_HEADERS  /usr/src/linux-headers-REL: to build hang/, whose tasks stand in .text.unlikely, .init.text and .exit.text
#   KSTACK_BIN      the kstack to prove; by default it is built
#   KSTACK_CRASH, KSTACK_DRGN   those programs, when they are not in PATH; drgn from 0.0.31 (`pip install drgn`; Debian 12 has an older one)
#   KSTACK_KEEP     folder for the capture, the scripts and what each tool said; by default it is gone afterwards
# Debian packages: qemu-system-x86 gdb busybox-static dmsetup fdisk kmod cpio binutils llvm python3, and zfsutils-linux and crash if wanted.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
lab=${KSTACK_LAB:-$HOME/.cache/kstack-lab}
export PATH=$PATH:/usr/sbin:/sbin PYTHONDONTWRITEBYTECODE=1

skip() {
	echo "skipped, nothing is proven: $*"
	[[ ${KSTACK_NEEDS_QEMU:-} != 1 ]]
	exit
}

# Debian's kernel and its debug symbols, unpacked and not installed.
prepare() {
	local rel package
	command -v apt-get >/dev/null || skip "--prepare needs apt-get"
	rel=${KSTACK_KREL:-$(apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: linux-image-//p' | head -n 1)}
	mkdir -p "$lab/debs" "$lab/root"
	for package in "linux-image-$rel" "linux-image-$rel-dbg"; do
		[[ -e $lab/debs/.$package.unpacked ]] && continue
		(cd "$lab/debs" && apt-get download "$package")
		dpkg -x "$lab/debs/${package}"_*.deb "$lab/root"
		touch "$lab/debs/.$package.unpacked"
	done
}

# Copies a program and the libraries that it asks for into the guest.
add_program() {
	install -D -m755 "$(command -v "$1")" "$guest/sbin/$1"
	ldd "$(command -v "$1")" | awk '/=> \//{print $3} /^\t\/lib64/{print $1}' | while read -r library; do
		mkdir -p "$guest$(dirname "$library")"
		cp -nL "$library" "$guest$library"
	done
}

# The files of modules and of all that they depend on, in the kernel's own tree.
add_modules() {
	local name file
	for name in "$@"; do
		modprobe -S "$rel" -d "$boot" --show-depends "$name" 2>/dev/null | awk '/^insmod/{print $2}'
	done | sort -u | while read -r file; do
		file=/lib/modules/${file#*/lib/modules/}
		install -D -m644 "$boot$file" "$guest$file"
	done
	find "$guest/lib/modules" -name '*.ko.xz' -exec xz -d {} +
	find "$guest/lib/modules" -name '*.ko.zst' -exec zstd -q -d --rm {} +
}

build_module() {
	[[ -e $headers/Makefile ]] || { echo "no $headers: without tasks in .text.unlikely, .init.text and .exit.text"; return 0; }
	mkdir -p "$work/sym"
	cp -r "$here/hang" "$work/hang"
	make -s -C "$headers" M="$work/hang" modules >"$work/hang.log" 2>&1 || { cat "$work/hang.log"; return 1; }
	for module in hang hang_late; do
		cp "$work/hang/$module.ko" "$work/sym/"
		strip -g -o "$guest/lib/$module.ko" "$work/hang/$module.ko"
	done
	symbols+=("$work/sym")
}

make_guest() {
	guest=$work/guest
	mkdir -p "$guest"/{bin,sbin,lib,lib64,etc,proc,sys,dev} "$guest/lib/modules/$rel/extra"
	cp "$(command -v busybox)" "$guest/bin/busybox"
	install -m755 "$here/init" "$guest/init"
	add_program dmsetup
	[[ -e $boot/lib/modules/$rel/modules.dep ]] || depmod -b "$boot" "$rel"
	add_modules qemu_fw_cfg virtio_pci virtio_blk dm-mod crc32c_generic ext4
	if [[ -e $lab/sym/zfs.ko ]] && command -v zpool zfs >/dev/null; then
		add_program zpool
		add_program zfs
		for module in "$lab"/sym/*.ko; do
			strip -g -o "$guest/lib/modules/$rel/extra/${module##*/}" "$module"
		done
		symbols+=("$lab/sym")
	else
		echo "no $lab/sym/zfs.ko or no zpool: without ZFS"
	fi
	build_module
	cp "$boot/lib/modules/$rel"/modules.{builtin,builtin.modinfo,order} "$guest/lib/modules/$rel/" 2>/dev/null || true
	depmod -b "$guest" "$rel"
	(cd "$guest" && find . | cpio -o -H newc --quiet | gzip -1) >"$work/initramfs.gz"
}

# Boots and waits until everything hangs; the guest stays with a stub on $work/gdb and a monitor on $work/monitor.
boot_guest() {
	truncate -s 256M "$work/out.img"
	truncate -s 1G "$work/pool.img" "$work/ext4.img"
	mke2fs -q -F -t ext4 "$work/ext4.img"
	# zpool takes a partition as it is, and of a whole disk makes one that nobody in the guest announces.
	echo 'start=2048' | sfdisk -q --label gpt "$work/pool.img"
	# Emulation: hardware virtualisation is not needed, and nested it often cannot boot this kernel.
	qemu-system-x86_64 -accel tcg,thread=multi -cpu max,la57=off -smp 2 -m 1024 -nodefaults -no-reboot -nographic -device vmcoreinfo \
		-kernel "$vmlinuz" -initrd "$work/initramfs.gz" -append "console=ttyS0 panic=-1 log_buf_len=16M quiet" \
		-serial "file:$work/serial.txt" \
		-drive "file=$work/out.img,format=raw,if=virtio,cache=unsafe" \
		-drive "file=$work/pool.img,format=raw,if=virtio,cache=unsafe" \
		-drive "file=$work/ext4.img,format=raw,if=virtio,cache=unsafe" \
		-chardev "socket,id=stub,path=$work/gdb,server=on,wait=off" -gdb chardev:stub \
		-monitor "unix:$work/monitor,server=on,wait=off" 2>"$work/qemu.log" &
	vm=$!
	for ((second = 0; second < 400; second++)); do
		grep -aq 'GUEST: HELD' "$work/serial.txt" 2>/dev/null && break
		kill -0 $vm 2>/dev/null || { tail -n 20 "$work/serial.txt" "$work/qemu.log"; echo "the guest ended early"; exit 1; }
		sleep 1
	done
	grep -a 'GUEST: ' "$work/serial.txt" || true
	mkdir -p "$work/capture"
	tar xf "$work/out.img" -C "$work/capture" 2>/dev/null || [[ -s $work/capture/kallsyms ]]
	((second < 400)) || { tail -n 20 "$work/serial.txt"; echo "the guest does not say HELD within $second s"; exit 1; }
	echo "the guest hangs after $second s"
}

[[ ${1:-} != --prepare ]] || prepare

for tool in qemu-system-x86_64 gdb busybox dmsetup mke2fs sfdisk modprobe depmod cpio ld nm readelf strip addr2line python3; do
	command -v $tool >/dev/null || skip "$tool is not installed"
done
llvm=$(command -v llvm-symbolizer || command -v llvm-symbolizer-14) || skip "llvm-symbolizer is not installed"

rel=${KSTACK_KREL:-}
for file in "$lab"/root/usr/lib/debug/boot/vmlinux-*; do
	[[ -n ${KSTACK_KREL:-} || ! -e $file ]] || rel=${file##*/vmlinux-}
done
boot=$lab/root
[[ -d $boot/lib/modules/$rel && -n $rel ]] || boot=
vmlinux=${KSTACK_VMLINUX:-$boot/usr/lib/debug/boot/vmlinux-$rel}
vmlinuz=${KSTACK_VMLINUZ:-$boot/boot/vmlinuz-$rel}
modules=${KSTACK_MODULES:-$boot/usr/lib/debug/lib/modules/$rel}
headers=${KSTACK_HEADERS:-/usr/src/linux-headers-$rel}
for file in "$vmlinux" "$vmlinuz" "$modules"; do
	[[ -n $rel && -e $file ]] || skip "no ${file}; run with --prepare, or see the head of this script"
done
echo "kernel $rel"

kstack=${KSTACK_BIN:-}
if [[ -z $kstack ]]; then
	cargo build --release --quiet --manifest-path "$here/../../Cargo.toml"
	kstack=${CARGO_TARGET_DIR:-$here/../../target}/release/kstack
fi

# Short, because the path of a socket holds no more than 107 characters.
work=$(mktemp -d /tmp/kstack-qemu.XXXXXX)
vm=
finish() {
	local status=$?
	[[ -z $vm ]] || { kill "$vm" 2>/dev/null || true; wait "$vm" 2>/dev/null || true; }
	if [[ -n ${KSTACK_KEEP:-} ]]; then
		mkdir -p "$KSTACK_KEEP"
		rm -rf "$work/guest" "$work"/*.img "$work/initramfs.gz" "$work/gdb" "$work/monitor"
		cp -r "$work/." "$KSTACK_KEEP/"
	fi
	rm -rf "$work"
	exit "$status"
}
trap finish EXIT
symbols=("$modules")
make_guest
boot_guest
python3 "$here/prove.py" "$work" "$kstack" "$llvm" "$vmlinux" "${symbols[@]}"
