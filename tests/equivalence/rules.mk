# SPDX-License-Identifier: Apache-2.0
# The images that `make equivalence` runs, where they are not packages: Linux's init, and the test images. A test image is
# images/NAME_32.cpp or images/NAME_64.cpp, for 32-bit protected or for long mode, with the runtime: a Multiboot ELF32.

EQUIVALENCE_IMAGES := $(patsubst tests/equivalence/images/%.cpp,$(EQUIVALENCE)/%.elf,$(wildcard tests/equivalence/images/*.cpp))

EQUIVALENCE_KERNELS := $(EQUIVALENCE)/vmlinuz-amd64 $(EQUIVALENCE)/memtest86+x64.bin $(EQUIVALENCE)/memtest86+ia32.bin

.PHONY: equivalence-images equivalence-programs
equivalence-images: equivalence-programs $(EQUIVALENCE)/initramfs.cpio $(EQUIVALENCE)/initramfs-686.cpio $(EQUIVALENCE)/vmlinuz-686 \
		$(EQUIVALENCE_KERNELS) $(TEST_DISKS)
equivalence-programs: $(EQUIVALENCE_IMAGES)

$(EQUIVALENCE_KERNELS) &: scripts/fetch-packages
	scripts/fetch-packages $(EQUIVALENCE) 'vmlinuz-amd64=linux-image-amd64:boot/vmlinuz-*' \
		'memtest86+x64.bin=memtest86+:boot/memtest86+x64.bin' 'memtest86+ia32.bin=memtest86+:boot/memtest86+ia32.bin'

$(EQUIVALENCE)/vmlinuz-686 $(EQUIVALENCE)/busybox-686 &: scripts/fetch-packages
	scripts/fetch-packages $(EQUIVALENCE) 'vmlinuz-686=linux-image-686-pae/i386:boot/vmlinuz-*' \
		'busybox-686=busybox-static/i386:bin/busybox'

EQUIVALENCE_INITRAMFS = scripts/make-initramfs $@ --busybox $(filter %busybox %busybox-686,$^) init=tests/equivalence/linux/init proc=/ sys=/ tmp=/

$(EQUIVALENCE)/initramfs.cpio: scripts/make-initramfs tests/equivalence/linux/init $(GUEST_FILES)/busybox
	@mkdir -p $(@D)
	$(EQUIVALENCE_INITRAMFS)

$(EQUIVALENCE)/initramfs-686.cpio: scripts/make-initramfs tests/equivalence/linux/init $(EQUIVALENCE)/busybox-686
	$(EQUIVALENCE_INITRAMFS)

EQUIVALENCE_FLAGS := -std=c++20 -O1 -g0 -Wall -Wextra -Itests/equivalence/runtime -ffreestanding -fno-pic -no-pie \
	-fno-exceptions -fno-rtti -fno-stack-protector -fno-asynchronous-unwind-tables -fcf-protection=none \
	-fno-threadsafe-statics -mgeneral-regs-only -mno-red-zone -MMD -MP

$(BUILD)/programs/equivalence/32/%.o $(BUILD)/programs/equivalence/64/%.o: tests/equivalence/rules.mk
$(BUILD)/programs/equivalence/32/%.o: tests/equivalence/%
	@mkdir -p $(@D)
	$(call say,CXX)$(CXX) -m32 $(EQUIVALENCE_FLAGS) -c $< -o $@
$(BUILD)/programs/equivalence/64/%.o: tests/equivalence/%
	@mkdir -p $(@D)
	$(call say,CXX)$(CXX) -m64 $(EQUIVALENCE_FLAGS) -c $< -o $@

# GRUB and Multiboot want an ELF32, whatever the mode that the code goes on in.
define equivalence_image
$(EQUIVALENCE)/%_$(1).elf: $(BUILD)/programs/equivalence/$(1)/images/%_$(1).cpp.o \
		$(patsubst %,$(BUILD)/programs/equivalence/$(1)/runtime/%.o,start$(1).S vectors$(1).S runtime.cpp) tests/equivalence/runtime/image.ld
	@mkdir -p $$(@D)
	ld -m $(2) -T tests/equivalence/runtime/image.ld --no-warn-rwx-segments -z noexecstack $$(filter %.o,$$^) -o $$@.part
	objcopy -O elf32-i386 $$@.part $$@
	rm $$@.part
endef
$(eval $(call equivalence_image,32,elf_i386))
$(eval $(call equivalence_image,64,elf_x86_64))
EQUIVALENCE_OBJECTS := $(foreach mode,32 64,$(patsubst tests/equivalence/%,$(BUILD)/programs/equivalence/$(mode)/%.o, \
	$(wildcard tests/equivalence/images/*_$(mode).cpp tests/equivalence/runtime/*$(mode).S tests/equivalence/runtime/*.cpp)))
.SECONDARY: $(EQUIVALENCE_OBJECTS)

-include $(EQUIVALENCE_OBJECTS:.o=.d)
