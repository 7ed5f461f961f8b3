# SPDX-License-Identifier: Apache-2.0
# The image that runs each instruction on RAM and on its twin in the test device, with the runtime of the equivalence
# images: for long mode, and for the modes without it.

TWIN := $(BUILD)/programs/twin
TWIN_IMAGES := $(GUEST_FILES)/tests/twin_32.elf $(GUEST_FILES)/tests/twin_64.elf

$(TWIN)/32/%.o: % tests/twin/rules.mk
	@mkdir -p $(@D)
	$(call say,CXX)$(CXX) -m32 -I. $(EQUIVALENCE_FLAGS) -c $< -o $@
$(TWIN)/64/%.o: % tests/twin/rules.mk
	@mkdir -p $(@D)
	$(call say,CXX)$(CXX) -m64 -I. $(EQUIVALENCE_FLAGS) -c $< -o $@

TWIN_RUNTIME = $(patsubst %,$(BUILD)/programs/equivalence/$(1)/runtime/%.o,start$(1).S vectors$(1).S runtime.cpp)
TWIN_OBJECTS_32 := $(TWIN)/32/tests/twin/twin.cpp.o $(TWIN)/32/tests/twin/run32.S.o $(TWIN)/32/tests/twin/real.S.o
TWIN_OBJECTS_64 := $(TWIN)/64/tests/twin/twin.cpp.o $(TWIN)/64/tests/twin/run64.S.o

define twin_image
$(GUEST_FILES)/tests/twin_$(1).elf: $(TWIN_OBJECTS_$(1)) $(call TWIN_RUNTIME,$(1)) tests/equivalence/runtime/image.ld
	@mkdir -p $$(@D)
	$$(call say,LD)ld -m $(2) -T tests/equivalence/runtime/image.ld --no-warn-rwx-segments -z noexecstack $$(filter %.o,$$^) -o $$@.part
	@objcopy -O elf32-i386 $$@.part $$@
	@rm $$@.part
endef
$(eval $(call twin_image,32,elf_i386))
$(eval $(call twin_image,64,elf_x86_64))

-include $(TWIN_OBJECTS_32:.o=.d) $(TWIN_OBJECTS_64:.o=.d)
