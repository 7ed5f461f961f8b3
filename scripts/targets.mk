# SPDX-License-Identifier: Apache-2.0
# Everything around the hypervisor: guests, images, tests. Included by the Makefile.

PYTHON := /usr/bin/python3
RESULTS := $(BUILD)/results
# One test, or those whose name contains it: make test FILTER=uname
FILTER ?=
# guests.conf for run and iso.
GUESTS ?= examples/default.conf
# More arguments for scripts/run: make run RUN="--cpus 4 --machine qemu"
RUN ?=

.PHONY: help setup guests run iso test unit system soak bench equivalence lint clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile scripts/targets.mk tests/*/rules.mk | sort | awk -F'|' '{ printf "%-14s %s\n", $$1, $$2 }'
	@echo
	@echo 'run and iso take GUESTS=FILE, run takes RUN="arguments of scripts/run", the tests take FILTER=NAME.'

setup: ## install the Debian packages that are missing
	@scripts/setup

# The packages come first, and what needs them is made by a second make, so that nothing of it runs before: on all CPUs,
# unless the first was told otherwise.
SUB = --no-print-directory $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))
run: ## set up, build, boot on what this computer offers, and give you the console
	@scripts/setup
	@$(MAKE) $(SUB) all guests $(BUILD)/check-config
	@scripts/run --guests $(GUESTS) $(RUN)

iso: ## make build/bulkhead.iso for a real PC: disc or USB stick, BIOS or UEFI
	@scripts/setup
	@$(MAKE) $(SUB) all guests $(BUILD)/check-config
	@scripts/make-iso $(BUILD)/bulkhead.iso --guests $(GUESTS)

test: ## set up, build and run every test
	@scripts/setup
	@$(MAKE) $(SUB) all guests $(BUILD)/check-config $(BUILD)/unit-tests $(BUILD)/differential-tests fuzz-targets test-guests \
		equivalence-programs
	@scripts/test --filter '$(FILTER)'

unit: ## the unit tests alone
	@scripts/setup
	@$(MAKE) $(SUB) $(BUILD)/unit-tests $(BUILD)/differential-tests
	@scripts/test --only unit --filter '$(FILTER)'

system: ## the system tests alone
	@scripts/setup
	@$(MAKE) $(SUB) all guests $(BUILD)/check-config test-guests equivalence-programs
	@scripts/test --only system --filter '$(FILTER)'

soak: ## two emulated minutes of load on four vCPUs: ten to twenty minutes
	@scripts/setup
	@$(MAKE) $(SUB) all guests $(BUILD)/check-config test-guests
	@BULKHEAD_SOAK=120 scripts/test --only system --filter 'test_load_on_all_of_them'

bench: ## measure; the numbers go to build/bench.json
	@scripts/setup
	@$(MAKE) $(SUB) all guests $(BUILD)/check-config bench-guests
	@tests/bench/run

equivalence: ## run images bare and as guests, and compare; IMAGES=DIR for other images than tests/equivalence
	@scripts/setup
	@$(MAKE) $(SUB) all guests $(BUILD)/check-config equivalence-images
	@tests/equivalence/run $(if $(IMAGES),--images $(IMAGES)) --filter '$(FILTER)' $(RUN)

lint: ## check the arrows between the rooms and the licence lines
	@scripts/check-rooms

clean: ## remove what was built, but for the packages that were fetched
	@find $(BUILD) -mindepth 1 -maxdepth 1 ! -name guests -exec rm -rf {} + 2>/dev/null || true
	@find $(BUILD)/guests -type f ! -name 'vmlinuz*' ! -name 'busybox*' ! -name 'memtest*' ! -name '*bios.bin' ! -name 'ovmf.fd' ! -name 'ipxe*' ! -name '*.ko' -delete 2>/dev/null || true

# ---- guests ---------------------------------------------------------------------------------------------------------
GUEST_FILES := $(BUILD)/guests
INITRAMFS := examples/initramfs/inittab examples/initramfs/rc

FIRMWARE := $(GUEST_FILES)/seabios.bin $(GUEST_FILES)/sgabios.bin $(GUEST_FILES)/ovmf.fd

guests: $(GUEST_FILES)/vmlinuz $(GUEST_FILES)/initramfs.cpio $(GUEST_FILES)/heartbeat.bin $(FIRMWARE)

# Firmware for guests that start as a PC does. In Debian 12 sgabios is part of QEMU's data files.
$(FIRMWARE) &: scripts/fetch-packages
	scripts/fetch-packages $(GUEST_FILES) 'seabios.bin=seabios:usr/share/seabios/bios-256k.bin' \
		'sgabios.bin=qemu-system-data:usr/share/qemu/sgabios.bin' 'ovmf.fd=ovmf:usr/share/ovmf/OVMF.fd'

# The modules are of the kernel's very version.
GUEST_MODULES := $(patsubst %,$(GUEST_FILES)/modules/%.ko,scsi_common scsi_mod sd_mod sr_mod cdrom libata ata_piix isofs)
$(GUEST_FILES)/vmlinuz $(GUEST_FILES)/busybox $(GUEST_MODULES) &: scripts/fetch-guests
	scripts/fetch-guests $(GUEST_FILES)

MAKE_INITRAMFS = scripts/make-initramfs $@ --busybox $(GUEST_FILES)/busybox init@bin/busybox \
	etc/inittab=examples/initramfs/inittab etc/rc=examples/initramfs/rc proc=/ sys=/ tmp=/ root=/

$(GUEST_FILES)/initramfs.cpio: scripts/make-initramfs $(INITRAMFS) $(GUEST_FILES)/busybox
	$(MAKE_INITRAMFS)

# ---- unit tests -----------------------------------------------------------------------------------------------------
# The hypervisor's own sources, compiled for this computer with sanitizers. tests/fake comes first on the include path:
# it has the one header with VMX instructions. They go through an archive, so that only what a test uses is linked.
# The tests themselves are neither optimized nor checked: that would take most of the time of a build.
TEST_HOST := -Itests/fake $(COMMON) -fno-omit-frame-pointer -O0
HOST := -Itests/fake $(COMMON) -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
HOST_SOURCES := $(filter guest/%.cpp mm/%.cpp drivers/%.cpp vmx/%.cpp lib/%.cpp monitor/%.cpp \
	boot/boot_info.cpp boot/trampoline.cpp arch/cpu/clock.cpp arch/cpu/symbols.cpp,$(KERNEL_SOURCES))
# Without what the C and C++ libraries have, and what only a machine can do: tests/fake has some of that.
HOST_SOURCES := $(filter-out lib/memory.cpp lib/runtime.cpp drivers/power.cpp mm/window.cpp vmx/host_state.cpp \
	monitor/monitor.cpp,$(HOST_SOURCES))
HOST_OBJECTS := $(HOST_SOURCES:%=$(BUILD)/unit/%.o) $(BUILD)/unit/guest/dsdt.S.o
UNIT_SOURCES := $(wildcard tests/unit/*.cpp $(addprefix tests/fake/,*.cpp */*.cpp */*/*.cpp))
UNIT_OBJECTS := $(UNIT_SOURCES:%=$(BUILD)/unit/%.o)

# What each test includes first is compiled once.
FIRST := $(BUILD)/unit/first.hpp
$(FIRST).gch: Makefile scripts/targets.mk
	@mkdir -p $(@D)
	@echo '#include <gtest/gtest.h>' >$(FIRST)
	$(call say,CXX)$(CXX) $(TEST_HOST) -x c++-header $(FIRST) -o $@

$(BUILD)/unit/tests/unit/%.cpp.o: tests/unit/%.cpp $(FIRST).gch
	@mkdir -p $(@D)
	$(call say,CXX)$(CXX) $(TEST_HOST) -include $(FIRST) -c $< -o $@

$(BUILD)/unit/%.cpp.o: %.cpp Makefile scripts/targets.mk
	@mkdir -p $(@D)
	$(call say,CXX)$(CXX) $(HOST) $(if $(filter tests/%,$<),-O0,-O1) -c $< -o $@

$(BUILD)/unit/guest/dsdt.S.o: guest/dsdt.S $(DSDT)
	@mkdir -p $(@D)
	$(call say,CXX)$(CXX) -I. -MMD -MP -c $< -o $@

$(BUILD)/unit/libbulkhead.a: $(HOST_OBJECTS)
	@rm -f $@
	$(call say,AR)ar rcs $@ $^

$(BUILD)/unit-tests: $(UNIT_OBJECTS) $(BUILD)/unit/libbulkhead.a
	$(call say,LD)$(CXX) -fsanitize=address,undefined $^ -lgtest -lgtest_main -lZydis -o $@

-include $(HOST_OBJECTS:.o=.d) $(UNIT_OBJECTS:.o=.d)

include tests/differential/rules.mk
include tests/fuzz/rules.mk

# ---- programs for the system tests and the benchmarks ---------------------------------------------------------------
PROGRAM := -m32 -std=c++20 -O2 -Wall -Wextra -ffreestanding -fno-pic -fno-exceptions -fno-rtti -fno-stack-protector \
	-fno-asynchronous-unwind-tables -fcf-protection=none -fno-threadsafe-statics -mgeneral-regs-only -MMD -MP
TEST_PROGRAMS := $(patsubst tests/system/guests/%.cpp,$(GUEST_FILES)/tests/%.bin,$(wildcard tests/system/guests/*.cpp))
MULTIBOOT_PROGRAMS := $(patsubst tests/system/multiboot/%.cpp,$(GUEST_FILES)/tests/%.elf,$(wildcard tests/system/multiboot/*.cpp)) \
	$(GUEST_FILES)/tests/addressed.bin
BENCH_PROGRAMS := $(GUEST_FILES)/bench/cpuid.bin
TEST_DISKS := $(patsubst %,$(GUEST_FILES)/tests/%,floppy.img polling.img disk.img memtest.img ipxe.img linux.img menu.iso)
MAKE_DISK := scripts/make-disk $(patsubst %,scripts/harness/%.py,disk floppy image)
PROGRAM_START := $(BUILD)/programs/tests/system/guests/start.S.o

.PHONY: test-guests bench-guests
test-guests: $(TEST_PROGRAMS) $(MULTIBOOT_PROGRAMS) $(TEST_DISKS) $(GUEST_FILES)/tests/vmlinux $(GUEST_FILES)/tests/initramfs.cpio
bench-guests: $(BENCH_PROGRAMS) $(GUEST_FILES)/bench/initramfs.cpio

$(BUILD)/programs/%.o: % scripts/targets.mk
	@mkdir -p $(@D)
	$(call say,CXX)$(CXX) -I. $(if $(filter %.cpp,$<),$(PROGRAM),-m32 -MMD -MP) -c $< -o $@

define program
	@mkdir -p $(@D)
	ld -m elf_i386 -T tests/system/guests/flat.ld --no-warn-rwx-segments $(filter %.o,$^) -o $(@:.bin=.elf)
	$(call say,BIN)objcopy -O binary $(@:.bin=.elf) $@
endef

$(TEST_PROGRAMS): $(GUEST_FILES)/tests/%.bin: $(BUILD)/programs/tests/system/guests/%.cpp.o $(PROGRAM_START) tests/system/guests/flat.ld
	$(program)

$(GUEST_FILES)/tests/cpu.bin: $(BUILD)/programs/tests/system/guests/traps.S.o $(BUILD)/programs/tests/system/guests/real.S.o

$(BENCH_PROGRAMS): $(GUEST_FILES)/bench/%.bin: $(BUILD)/programs/tests/bench/%.cpp.o $(PROGRAM_START) tests/system/guests/flat.ld
	$(program)

# Multiboot programs as ELF, and one as a plain file whose header has the addresses.
MULTIBOOT_OBJECTS := $(BUILD)/programs/tests/system/multiboot
$(MULTIBOOT_OBJECTS)/addresses.S.o: tests/system/multiboot/start.S scripts/targets.mk
	@mkdir -p $(@D)
	$(call say,CXX)$(CXX) -m32 -MMD -MP -DADDRESSES -c $< -o $@

$(filter %.elf,$(MULTIBOOT_PROGRAMS)): $(GUEST_FILES)/tests/%.elf: $(MULTIBOOT_OBJECTS)/%.cpp.o $(MULTIBOOT_OBJECTS)/start.S.o tests/system/guests/flat.ld
	@mkdir -p $(@D)
	ld -m elf_i386 -T tests/system/guests/flat.ld --no-warn-rwx-segments $(filter %.o,$^) -o $@

$(GUEST_FILES)/tests/addressed.bin: $(MULTIBOOT_OBJECTS)/addresses.S.o $(MULTIBOOT_OBJECTS)/report.cpp.o tests/system/guests/flat.ld
	$(program)

# A 1440 KiB floppy: its first sector is what firmware loads at 7C00h.
$(BUILD)/programs/tests/system/floppy/polling.S.o: tests/system/floppy/floppy.S scripts/targets.mk
	@mkdir -p $(@D)
	$(call say,CXX)$(CXX) -m32 -MMD -MP -DPOLLING -c $< -o $@

$(GUEST_FILES)/tests/floppy.img $(GUEST_FILES)/tests/polling.img: $(GUEST_FILES)/tests/%.img: $(BUILD)/programs/tests/system/floppy/%.S.o
	@mkdir -p $(@D)
	ld -m elf_i386 -Ttext=0x7c00 -e _start --oformat=binary $< -o $@

# A disk of 1 MiB, likewise.
$(GUEST_FILES)/tests/disk.img: $(BUILD)/programs/tests/system/disk/disk.S.o
	@mkdir -p $(@D)
	ld -m elf_i386 -Ttext=0x7c00 -e _start --oformat=binary $< -o $@

$(GUEST_FILES)/tests/memtest.bin $(GUEST_FILES)/tests/ipxe.bin &: scripts/fetch-packages
	scripts/fetch-packages $(@D) 'memtest.bin=memtest86+:boot/memtest86+x64.bin' 'ipxe.bin=ipxe:boot/ipxe.lkrn'

$(GUEST_FILES)/tests/memtest.img $(GUEST_FILES)/tests/ipxe.img: $(GUEST_FILES)/tests/%.img: tests/system/grub/%.cfg $(GUEST_FILES)/tests/%.bin $(MAKE_DISK)
	scripts/make-disk floppy $@ $< $*.bin=$(GUEST_FILES)/tests/$*.bin

# What GRUB boots: a hard disk with Debian's Linux, whose initramfs has the drivers for the disk, and a disc.
$(GUEST_FILES)/tests/linux.cpio: scripts/make-initramfs tests/system/grub/rc $(GUEST_FILES)/busybox $(GUEST_MODULES)
	@mkdir -p $(@D)
	scripts/make-initramfs $@ --busybox $(GUEST_FILES)/busybox init@bin/busybox etc/inittab=examples/initramfs/inittab \
		etc/rc=tests/system/grub/rc $(foreach module,$(GUEST_MODULES),modules/$(notdir $(module))=$(module)) \
		proc=/ sys=/ tmp=/ root=/ disk=/ disc=/

$(GUEST_FILES)/tests/linux.img: tests/system/grub/linux.cfg $(GUEST_FILES)/vmlinuz $(GUEST_FILES)/tests/linux.cpio $(MAKE_DISK)
	scripts/make-disk disk $@ $< boot/vmlinuz=$(GUEST_FILES)/vmlinuz boot/initramfs.cpio=$(GUEST_FILES)/tests/linux.cpio

$(GUEST_FILES)/tests/menu.iso: tests/system/grub/menu.cfg $(GUEST_FILES)/tests/memtest.bin $(GUEST_FILES)/tests/report.elf $(MAKE_DISK)
	scripts/make-disk disc $@ $< boot/memtest.bin=$(GUEST_FILES)/tests/memtest.bin boot/report.elf=$(GUEST_FILES)/tests/report.elf

# The ELF kernel that is packed in the bzImage, for the PVH loader.
$(GUEST_FILES)/tests/vmlinux: scripts/extract-vmlinux $(GUEST_FILES)/vmlinuz
	@mkdir -p $(@D)
	$^ $@

# The initramfs of the default guests with two commands more.
$(GUEST_FILES)/tests/tsc: tests/system/guests/tsc.S scripts/targets.mk
	@mkdir -p $(@D)
	$(call say,LD)$(CXX) -static -nostdlib -no-pie -Wl,--build-id=none $< -o $@

$(GUEST_FILES)/tests/storm: tests/system/guests/linux/storm.cpp scripts/targets.mk
	@mkdir -p $(@D)
	$(call say,CXX)$(CXX) -std=c++20 -O2 -Wall -Wextra -ffreestanding -fno-exceptions -fno-rtti -fno-stack-protector -static -nostdlib \
		-no-pie -Wl,--build-id=none $< -o $@

$(GUEST_FILES)/tests/initramfs.cpio: $(GUEST_FILES)/tests/tsc $(GUEST_FILES)/tests/storm $(GUEST_FILES)/initramfs.cpio
	$(MAKE_INITRAMFS) bin/tsc=$< bin/storm=$(GUEST_FILES)/tests/storm

# Linked at an address that nothing else on the machine runs at: a breakpoint there means this program.
$(GUEST_FILES)/bench/init: tests/bench/init.S scripts/targets.mk
	@mkdir -p $(@D)
	$(call say,LD)$(CXX) -static -nostdlib -no-pie -Wl,--build-id=none -Wl,-Ttext-segment=0x700010000000 $< -o $@

$(GUEST_FILES)/bench/initramfs.cpio: $(GUEST_FILES)/bench/init scripts/make-initramfs
	scripts/make-initramfs $@ init=$<

# ---- images of make equivalence -------------------------------------------------------------------------------------
EQUIVALENCE := $(GUEST_FILES)/equivalence
include tests/equivalence/rules.mk
include tests/twin/rules.mk
test-guests: $(TWIN_IMAGES)

-include $(wildcard $(BUILD)/programs/tests/*/*.d $(BUILD)/programs/tests/*/*/*.d)
