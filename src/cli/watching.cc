#include "cli/watching.h"

#include "cli/output.h"
#include "cli/records.h"

namespace tenure::cli {
namespace {

std::string TypeOf(const pb::Event& event) {
  if (!event.has_new_record()) return "deleted";
  return event.has_old_record() ? "changed" : "created";
}

void PrintEvent(const pb::Event& event, OutputFormat format) {
  const pb::Record& record = event.has_new_record() ? event.new_record() : event.old_record();
  if (format == OutputFormat::kTable) {
    Print(fmt::format("{} {} {} {}{}\n", event.revision(), TypeOf(event), KindText(record), IdOf(record),
                      event.has_new_record() ? " " + Summary(record) : ""));
    return;
  }
  Json json;
  json["revision"] = event.revision();
  json["type"] = TypeOf(event);
  json["kind"] = KindText(record);
  json["old"] = event.has_old_record() ? ToJson(event.old_record()) : Json(nullptr);
  json["new"] = event.has_new_record() ? ToJson(event.new_record()) : Json(nullptr);
  Print(json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
}

}  // namespace

Status WatchAndPrint(const Invocation& invocation, pb::WatchRequest request) {
  TENURE_ASSIGN_OR_RETURN(const auto session, Session::Open(invocation));
  return session->Watch(std::move(request), invocation.timeout(),
                        [&invocation](const pb::Event& event) { PrintEvent(event, invocation.format); });
}

}  // namespace tenure::cli
