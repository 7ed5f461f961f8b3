# SPDX-License-Identifier: Apache-2.0
# The emulator against the processor that runs the test. Optimized and without sanitizers: it runs millions of cases.

DIFFERENTIAL_FLAGS := $(COMMON) -O2
DIFFERENTIAL_SOURCES := $(wildcard guest/emulate/*.cpp) guest/bus.cpp
DIFFERENTIAL_OBJECTS := $(DIFFERENTIAL_SOURCES:%=$(BUILD)/differential/%.o)
DIFFERENTIAL_TEST_OBJECTS := $(patsubst %,$(BUILD)/differential/%.o,$(wildcard tests/differential/*.cpp))

$(BUILD)/differential/%.cpp.o: %.cpp Makefile tests/differential/rules.mk
	@mkdir -p $(@D)
	$(call say,CXX)$(CXX) $(DIFFERENTIAL_FLAGS) -c $< -o $@

$(BUILD)/differential-tests: $(DIFFERENTIAL_OBJECTS) $(DIFFERENTIAL_TEST_OBJECTS)
	$(call say,LD)$(CXX) $^ -lgtest -lgtest_main -lZydis -o $@

.PHONY: mutants
mutants: $(BUILD)/differential-tests ## seed bugs into the emulator, and see the differential test find them
	@tests/differential/mutants

-include $(DIFFERENTIAL_OBJECTS:.o=.d) $(DIFFERENTIAL_TEST_OBJECTS:.o=.d)
