# SPDX-License-Identifier: Apache-2.0
# `make help` lists the targets.

BUILD := build
CXX := g++
WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wnon-virtual-dtor -Werror
# A line for each file that is made; the whole commands with V=1.
say = $(if $(V),,@echo '$(1)	$@';)
COMMON := -std=c++23 -I. -MMD -MP -g $(WARNINGS)

# ---- the hypervisor -------------------------------------------------------------------------------------------------
# No floating point and no red zone: root mode keeps the guest's vector state live, and takes interrupts on its stack.
KERNEL := $(COMMON) -O2 -fno-exceptions -fno-rtti -fno-pic -mcmodel=kernel -mno-red-zone -mgeneral-regs-only \
	-fno-stack-protector -fno-threadsafe-statics -fno-omit-frame-pointer -momit-leaf-frame-pointer \
	-fno-asynchronous-unwind-tables -ffunction-sections -fdata-sections -fcf-protection=none -D__BULKHEAD__

ROOMS := boot monitor guest guest/emulate vmx mm drivers arch/cpu lib
KERNEL_SOURCES := $(wildcard $(addsuffix /*.cpp,$(ROOMS))) $(wildcard $(addsuffix /*.S,$(ROOMS)))
KERNEL_OBJECTS := $(KERNEL_SOURCES:%=$(BUILD)/kernel/%.o)

.DELETE_ON_ERROR:
.PHONY: all
all: $(BUILD)/bulkhead.elf

$(BUILD)/kernel/%.cpp.o: %.cpp Makefile
	@mkdir -p $(@D)
	$(call say,CXX)$(CXX) $(KERNEL) -c $< -o $@

$(BUILD)/kernel/%.S.o: %.S Makefile
	@mkdir -p $(@D)
	$(call say,CXX)$(CXX) -I. -MMD -MP -g -c $< -o $@

# What runs at every exit is counted by `make bench`: it does without frame pointers, and backtraces pass it over.
$(BUILD)/kernel/monitor/exit_table.cpp.o $(BUILD)/kernel/monitor/handlers_%.cpp.o $(BUILD)/kernel/guest/%.cpp.o: KERNEL += -fomit-frame-pointer

# Linked twice: the table of function names that backtraces use is made from the first link. It lies behind all code, so
# that the second link moves none of it.
LIBGCC := $(shell $(CXX) -print-libgcc-file-name)
LINK = ld -nostdlib -static --gc-sections --fatal-warnings --build-id=none -z max-page-size=0x1000 \
	-z noexecstack -T $(BUILD)/kernel/linker.ld $(KERNEL_OBJECTS) $(LIBGCC)

$(BUILD)/kernel/linker.ld: linker.ld arch/cpu/layout.h Makefile
	@mkdir -p $(@D)
	$(call say,CXX)$(CXX) -E -P -x c -I. $< -o $@

$(BUILD)/kernel/no-symbols.S: scripts/symbols
	@mkdir -p $(@D)
	@scripts/symbols </dev/null >$@

$(BUILD)/kernel/symbols.S: $(BUILD)/kernel/first.elf scripts/symbols
	$(call say,NM)nm -C --defined-only $< | scripts/symbols >$@

$(BUILD)/kernel/%.o: $(BUILD)/kernel/%.S
	$(call say,CXX)$(CXX) -c $< -o $@

$(BUILD)/kernel/first.elf: $(KERNEL_OBJECTS) $(BUILD)/kernel/no-symbols.o $(BUILD)/kernel/linker.ld
	$(call say,LD)$(LINK) $(BUILD)/kernel/no-symbols.o -o $@

$(BUILD)/bulkhead.elf: $(KERNEL_OBJECTS) $(BUILD)/kernel/symbols.o $(BUILD)/kernel/linker.ld
	$(call say,LD)$(LINK) $(BUILD)/kernel/symbols.o -o $@

-include $(KERNEL_OBJECTS:.o=.d)

include guest/acpi/rules.mk
-include tests/guests/rules.mk
include scripts/rules.mk
include scripts/targets.mk
