# SPDX-License-Identifier: Apache-2.0
# libFuzzer targets: each tests/fuzz/*.cpp is one. They need Clang, which compiles the hypervisor's sources once more.

FUZZ_CXX := clang++-16
# Clang 16 says C++23 this way, and has what std::expected of GCC's library asks for, but says a smaller number.
FUZZ_FLAGS := -std=c++2b -D__cpp_concepts=202002L -Wno-builtin-macro-redefined -Wno-macro-redefined -Itests/fake -I. \
	-MMD -MP -g1 -O1 -Wall -Wextra -Werror -Wno-unused-const-variable -Wno-unused-function -Wno-xor-used-as-pow -fno-omit-frame-pointer
FUZZ_SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all
FUZZ_SOURCES := $(filter guest/%.cpp lib/%.cpp drivers/acpi.cpp boot/boot_info.cpp monitor/console%.cpp,$(HOST_SOURCES))
FUZZ_OBJECTS := $(FUZZ_SOURCES:%=$(BUILD)/fuzz/%.o)
FUZZ_TARGETS := $(patsubst tests/fuzz/%.cpp,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/*.cpp))
FUZZ_TARGET_OBJECTS := $(FUZZ_TARGETS:$(BUILD)/fuzz/%=$(BUILD)/fuzz/tests/fuzz/%.cpp.o)
# One target, or those whose name contains it, and for how many executions: make fuzz FUZZ=pic FUZZ_RUNS=1000000
FUZZ ?=
FUZZ_RUNS ?= 200000

$(BUILD)/fuzz/%.cpp.o: %.cpp Makefile tests/fuzz/rules.mk
	@mkdir -p $(@D)
	$(call say,CLANG)$(FUZZ_CXX) $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link $(FUZZ_SANITIZE) -c $< -o $@

$(BUILD)/fuzz/libbulkhead.a: $(FUZZ_OBJECTS) $(BUILD)/unit/guest/dsdt.S.o
	@rm -f $@
	$(call say,AR)ar rcs $@ $^

$(FUZZ_TARGETS): $(BUILD)/fuzz/%: $(BUILD)/fuzz/tests/fuzz/%.cpp.o $(BUILD)/fuzz/libbulkhead.a
	$(call say,LD)$(FUZZ_CXX) -fsanitize=fuzzer $(FUZZ_SANITIZE) $^ -lgtest -lZydis -o $@

.PHONY: fuzz fuzz-targets
fuzz-targets: $(FUZZ_TARGETS)
fuzz: ## run the fuzz targets: FUZZ=NAME for one, FUZZ_RUNS=N for longer
	@scripts/setup
	@$(MAKE) $(SUB) fuzz-targets
	@tests/fuzz/run --filter '$(FUZZ)' --runs $(FUZZ_RUNS)

-include $(FUZZ_OBJECTS:.o=.d) $(FUZZ_TARGET_OBJECTS:.o=.d)
