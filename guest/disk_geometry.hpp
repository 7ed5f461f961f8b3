// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace bulkhead::guest {

// Cylinders, heads (tracks a cylinder) and sectors a track.
struct DiskGeometry {
    unsigned cylinders{}, heads{}, sectors{};
};

}  // namespace bulkhead::guest
