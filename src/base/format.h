// fmt formatters for the strong ids, so that messages print plain numbers.
#pragma once

#include <fmt/format.h>

#include "base/ids.h"

template <class Tag>
struct fmt::formatter<tenure::StrongId<Tag>> : fmt::formatter<uint64_t> {
  template <class Context>
  auto format(tenure::StrongId<Tag> id, Context& context) const {
    return fmt::formatter<uint64_t>::format(id.value(), context);
  }
};
