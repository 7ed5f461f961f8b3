// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "lib/ring.hpp"
#include "monitor/console_action.hpp"
#include "monitor/console_link.hpp"
#include "monitor/console_partition.hpp"

namespace bulkhead::monitor {

// The hypervisor's end of the framed link (docs/console.md): every partition whole, both ways. Under the console's
// lock.
class FramedLink {
  public:
    explicit FramedLink(PartitionTable& partitions) : partitions_(partitions) {}

    // Announces everything, from the first sequence number of the input on.
    void hello();
    // The next byte for the line.
    std::optional<std::uint8_t> next();
    Action receive(std::uint8_t byte);

  private:
    struct Answer {
        link::Type type{};
        std::uint8_t partition{};
        std::uint8_t sequence{};
    };

    bool build();
    bool build_answer();
    bool build_announcement();
    bool build_output();
    bool build_event(Partition& partition);
    bool build_data(Partition& partition);
    void send(link::Type type, unsigned partition, std::span<const std::uint8_t> payload);
    void send_state(unsigned partition, link::PartitionState state, std::string_view text);

    Action take(const link::Frame& frame);
    Action obey(const link::Frame& frame);
    void answer(link::Type type, const link::Frame& frame);

    PartitionTable& partitions_;
    link::Decoder decoder_;
    link::EncodedFrame out_{};
    std::size_t out_used_{}, out_sent_{};
    std::uint8_t sequence_{};  // of the next frame to send
    unsigned turn_{};
    bool hello_{};
    std::uint16_t unannounced_{};                          // bit n: partition n's name is to be sent
    std::uint16_t unstated_{};                             // bit n: its state
    std::array<std::uint8_t, max_partitions> expected_{};  // of each partition's input
    Ring<Answer, 16> answers_;
};

}  // namespace bulkhead::monitor
