// SPDX-License-Identifier: Apache-2.0
// Where the entry code finds the parts of a State (twin.hpp).
#pragma once

#define STATE_IP 128
#define STATE_FLAGS 136
#define STATE_CS 144
#define STATE_SS 152
#define STATE_DS 160
#define STATE_ES 168
#define STATE_FS 176
#define STATE_GS 184
#define STATE_VECTOR 192
#define STATE_ERROR 200
#define STATE_CR2 208
#define STATE_FX 224
