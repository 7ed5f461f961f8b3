# SPDX-License-Identifier: Apache-2.0
# Guests that are built from source in this directory.

GUEST_BINARIES := $(BUILD)/guests/heartbeat.bin

$(GUEST_BINARIES:.bin=.o): $(BUILD)/guests/%.o: tests/guests/%.S tests/guests/rules.mk
	@mkdir -p $(@D)
	$(call say,CXX)$(CXX) -m32 -MMD -MP -c $< -o $@

# A flat binary, linked to run where the flat loader puts it.
$(GUEST_BINARIES): $(BUILD)/guests/%.bin: $(BUILD)/guests/%.o
	ld -m elf_i386 -Ttext=0x100000 -e _start --oformat=binary -o $@ $<

-include $(GUEST_BINARIES:.bin=.d)
