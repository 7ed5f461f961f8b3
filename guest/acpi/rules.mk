# SPDX-License-Identifier: Apache-2.0
# The guests' DSDT, in two kinds: compiled by iasl and embedded by guest/dsdt.S. A warning of the compiler is an error
# here; its remark about the empty _PRT is not.
DSDT := $(BUILD)/guest/dsdt.aml $(BUILD)/guest/dsdt-pc.aml

$(DSDT): guest/acpi/dsdt.asl guest/acpi/rules.mk
	@mkdir -p $(@D)
	iasl -we -vr -vs $(if $(filter %-pc.aml,$@),-D PC) -p $(basename $@) $< >$@.log || { cat $@.log; rm -f $@; exit 1; }

$(BUILD)/kernel/guest/dsdt.S.o: $(DSDT)
