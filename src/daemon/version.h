// The program's version, as people and other processes are told it.
#pragma once

namespace tenure::daemon {

inline constexpr char kVersion[] = "0.1.0";

}  // namespace tenure::daemon
