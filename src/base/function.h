// A callable that is moved, called at most once by convention, and never copied.
#pragma once

#include <absl/functional/any_invocable.h>

namespace tenure {

using Closure = absl::AnyInvocable<void()>;

template <class T>
using Callback = absl::AnyInvocable<void(T)>;

}  // namespace tenure
