// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "guest/console.hpp"
#include "lib/delegate.hpp"
#include "lib/ring.hpp"
#include "lib/spinlock.hpp"
#include "monitor/console_link.hpp"

namespace bulkhead::monitor {

// The output of one partition: what is still to be shown, and behind it, until overwritten, what was shown.
// The storage is a power of two in size.
class OutputRing {
  public:
    explicit OutputRing(std::span<std::uint8_t> storage)
        : storage_(storage.data()), mask_(std::bit_floor(storage.size()) - 1) {}

    std::size_t capacity() const { return mask_ + 1; }
    std::size_t size() const { return tail_ - head_; }
    std::size_t room() const { return capacity() - size(); }
    bool empty() const { return tail_ == head_; }
    bool full() const { return size() == capacity(); }
    // Positions count bytes since the start, so that they can be compared.
    std::uint64_t read_position() const { return head_; }
    std::uint64_t write_position() const { return tail_; }

    void push(std::uint8_t byte) { storage_[tail_++ & mask_] = byte; }  // not when full
    std::uint8_t pop() { return storage_[head_++ & mask_]; }            // not when empty
    std::uint8_t peek(std::size_t index) const { return storage_[(head_ + index) & mask_]; }
    void skip(std::size_t count) { head_ += count; }
    void overwrite_oldest() {
        ++head_;
        ++lost_;
    }
    // How many bytes nobody has seen since this was asked last. The line that was torn by the loss goes with them.
    std::uint64_t take_lost();
    // Everything that is still stored is to be shown (again).
    void rewind();

  private:
    std::size_t drop_torn_line();

    std::uint8_t* storage_;
    std::size_t mask_;
    std::uint64_t head_{}, tail_{};
    std::uint64_t lost_{};
};

inline constexpr unsigned max_partitions = 10;  // one a digit
inline constexpr unsigned hypervisor_partition = 0;

// What the partitions of a console share.
struct Outlet {
    SpinLock lock;
    bool idle{};              // the transmitter found nothing to send and waits for `wake`
    std::uint16_t waiting{};  // bit n: partition n was told that there is no room
    Delegate<void()> wake;

    void rouse() const {
        if (wake) wake();
    }
};

// How much of a partition the user (or the other end of the link) gets at the moment.
enum class Sight : std::uint8_t {
    hidden,  // nothing: the oldest output is overwritten when the ring is full
    lines,   // whole lines: nothing is lost, output is worth a look once a line is complete
    bytes,   // every byte at once: nothing is lost
};

// A guest's (or the hypervisor's) end of the console. `put` and `get` may be called on any CPU.
class Partition final : public guest::SerialPeer {
  public:
    // A change of the guest's state, to be told when what it wrote before has been shown. A long text is cut.
    struct Event {
        link::PartitionState state{};
        std::array<char, 47> storage{};
        std::uint8_t length{};
        std::uint64_t position{};

        std::string_view text() const { return {storage.data(), length}; }
    };

    Partition(Outlet& outlet, unsigned number, std::string_view name, std::span<std::uint8_t> storage)
        : outlet_(outlet), number_(number), name_(name), output_(storage) {}
    Partition(const Partition&) = delete;
    Partition& operator=(const Partition&) = delete;

    bool put(std::uint8_t byte) override;
    std::optional<std::uint8_t> get() override;

    // Both are called without the console's lock, on any CPU, and possibly inside the transmitter's: they note the
    // event and kick the vCPU; they do not call the console. Set before the guest starts.
    void set_input_callback(Delegate<void()> callback) { input_callback_ = callback; }
    void set_room_callback(Delegate<void()> callback) { room_callback_ = callback; }

    unsigned number() const { return number_; }
    std::string_view name() const { return name_; }

    // ---- for the console, with its lock held

    OutputRing& output() { return output_; }
    Ring<std::uint8_t, 4096>& input() { return input_; }
    Sight sight() const { return sight_; }
    void set_sight(Sight sight) { sight_ = sight; }
    void add_event(link::PartitionState state, std::string_view text);
    // The event whose turn has come.
    std::optional<Event> take_event();
    // How much output comes before the next event.
    std::size_t bytes_before_event() const;
    // As told by the events so far.
    link::PartitionState state() const { return last_event_.state; }
    std::string_view state_text() const { return last_event_.text(); }

    // ---- for the console, without its lock

    void notify_input() const {
        if (input_callback_) input_callback_();
    }
    void notify_room() const {
        if (room_callback_) room_callback_();
    }

    // In the view of all partitions a line this long is shown in pieces.
    static constexpr std::size_t long_line = 192;

  private:
    Outlet& outlet_;
    unsigned number_;
    Sight sight_{Sight::hidden};
    std::string_view name_;
    Event last_event_;
    OutputRing output_;
    Delegate<void()> input_callback_;
    Delegate<void()> room_callback_;
    Ring<Event, 8> events_;
    Ring<std::uint8_t, 4096> input_;
};

// A guest's partition number is its digit.
using PartitionTable = std::array<std::optional<Partition>, max_partitions>;

}  // namespace bulkhead::monitor
