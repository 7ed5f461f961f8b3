# SPDX-License-Identifier: Apache-2.0
# Programs for the build host that share sources with the hypervisor.

CHECK_CONFIG_SOURCES := scripts/check_config.cpp guest/config.cpp lib/format.cpp
CHECK_CONFIG_OBJECTS := $(CHECK_CONFIG_SOURCES:%=$(BUILD)/host/%.o)

$(BUILD)/check-config: $(CHECK_CONFIG_OBJECTS)
	$(call say,LD)$(CXX) $^ -o $@

$(CHECK_CONFIG_OBJECTS): $(BUILD)/host/%.o: % scripts/rules.mk
	@mkdir -p $(@D)
	$(call say,CXX)$(CXX) $(COMMON) -O1 -c $< -o $@

-include $(CHECK_CONFIG_OBJECTS:.o=.d)
