// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace bulkhead {

template <class Signature>
class Delegate;

// A call to one member function of one object: two words, no allocation. The object outlives the delegate.
template <class Result, class... Args>
class Delegate<Result(Args...)> {
  public:
    constexpr Delegate() = default;

    template <auto member, class Object>
    static constexpr Delegate to(Object* object) {
        Delegate d;
        d.object_ = object;
        d.call_ = [](void* o, Args... args) -> Result { return (static_cast<Object*>(o)->*member)(args...); };
        return d;
    }

    constexpr explicit operator bool() const { return call_ != nullptr; }
    Result operator()(Args... args) const { return call_(object_, args...); }

  private:
    void* object_{};
    Result (*call_)(void*, Args...){};
};

}  // namespace bulkhead
