// Every message of the changefeed protocol says who sent it, from which process, by which leadership and for
// which owner epoch; found by reflection, so a message that is added later is held to it, too.
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <gtest/gtest.h>

#include "changefeed/protocol/acceptance.h"
#include "tenure/internal/v1/changefeed.pb.h"

namespace tenure::changefeed {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

bool HasNumber(const Descriptor& message, const char* name) {
  const FieldDescriptor* field = message.FindFieldByName(name);
  return field != nullptr && field->type() == FieldDescriptor::TYPE_UINT64 && !field->is_repeated();
}

// The owner epoch at the top, or, of a message about many changefeeds, in each entry.
bool HasOwnerEpoch(const Descriptor& message) {
  if (HasNumber(message, "owner_epoch")) return true;
  bool entries = false;
  for (int i = 0; i < message.field_count(); ++i) {
    const FieldDescriptor& field = *message.field(i);
    if (!field.is_repeated() || field.type() != FieldDescriptor::TYPE_MESSAGE) continue;
    if (!HasNumber(*field.message_type(), "owner_epoch")) return false;
    entries = true;
  }
  return entries;
}

std::string Complaint(const Descriptor& message) {
  const FieldDescriptor* sender = message.FindFieldByName("sender");
  if (sender == nullptr || sender->type() != FieldDescriptor::TYPE_MESSAGE)
    return message.name() + ": no sender";
  for (const char* name : {"leadership_epoch", "node", "incarnation"}) {
    if (!HasNumber(*sender->message_type(), name)) return message.name() + ": its sender has no " + name;
  }
  if (!HasOwnerEpoch(message)) return message.name() + ": no owner_epoch";
  return "";
}

TEST(Schema, EveryMessageCarriesItsAuthority) {
  const Descriptor& envelope = *::tenure::internal::v1::ChangefeedMessage::descriptor();
  ASSERT_EQ(envelope.oneof_decl_count(), 1);
  ASSERT_EQ(envelope.oneof_decl(0)->field_count(), envelope.field_count());
  EXPECT_GE(envelope.field_count(), 17);
  for (int i = 0; i < envelope.field_count(); ++i) {
    ASSERT_NE(envelope.field(i)->message_type(), nullptr) << envelope.field(i)->name();
    EXPECT_EQ(Complaint(*envelope.field(i)->message_type()), "");
  }
}

// A message type of the file is in the envelope, or part of one that is: none escapes the test above.
TEST(Schema, NoMessageIsOutsideTheEnvelope) {
  const Descriptor& envelope = *::tenure::internal::v1::ChangefeedMessage::descriptor();
  std::set<std::string> reached{envelope.name()};
  std::vector<const Descriptor*> todo{&envelope};
  while (!todo.empty()) {
    const Descriptor* message = todo.back();
    todo.pop_back();
    for (int i = 0; i < message->field_count(); ++i) {
      const Descriptor* type = message->field(i)->message_type();
      if (type != nullptr && reached.insert(type->name()).second) todo.push_back(type);
    }
  }
  for (int i = 0; i < envelope.file()->message_type_count(); ++i) {
    EXPECT_TRUE(reached.contains(envelope.file()->message_type(i)->name()))
        << envelope.file()->message_type(i)->name();
  }
}

// The test itself: what it would say of messages that lack something.
TEST(Schema, ComplainsOfWhatIsMissing) {
  google::protobuf::FileDescriptorProto file;
  file.set_name("broken.proto");
  file.set_syntax("proto3");
  const auto add = [&file](const char* name) {
    auto* message = file.add_message_type();
    message->set_name(name);
    return message;
  };
  const auto number = [](google::protobuf::DescriptorProto* message, const char* name, int n) {
    auto* field = message->add_field();
    field->set_name(name);
    field->set_number(n);
    field->set_type(google::protobuf::FieldDescriptorProto::TYPE_UINT64);
    field->set_label(google::protobuf::FieldDescriptorProto::LABEL_OPTIONAL);
  };
  const auto sender = [](google::protobuf::DescriptorProto* message, const char* type) {
    auto* field = message->add_field();
    field->set_name("sender");
    field->set_number(1);
    field->set_type(google::protobuf::FieldDescriptorProto::TYPE_MESSAGE);
    field->set_type_name(type);
    field->set_label(google::protobuf::FieldDescriptorProto::LABEL_OPTIONAL);
  };
  auto* whole = add("Whole");
  number(whole, "leadership_epoch", 1);
  number(whole, "node", 2);
  number(whole, "incarnation", 3);
  auto* partial = add("Partial");
  number(partial, "leadership_epoch", 1);
  number(partial, "node", 2);
  sender(add("NoEpoch"), "Whole");
  auto* no_incarnation = add("NoIncarnation");
  sender(no_incarnation, "Partial");
  number(no_incarnation, "owner_epoch", 2);
  number(add("NoSender"), "owner_epoch", 2);

  google::protobuf::DescriptorPool pool;
  const auto* built = pool.BuildFile(file);
  ASSERT_NE(built, nullptr);
  EXPECT_EQ(Complaint(*built->FindMessageTypeByName("NoEpoch")), "NoEpoch: no owner_epoch");
  EXPECT_EQ(Complaint(*built->FindMessageTypeByName("NoIncarnation")),
            "NoIncarnation: its sender has no incarnation");
  EXPECT_EQ(Complaint(*built->FindMessageTypeByName("NoSender")), "NoSender: no sender");
}

TEST(Schema, AcceptancesHaveTheSameNumbersOnTheWire) {
  const auto& values = *::tenure::internal::v1::ChangefeedAcceptance_descriptor();
  EXPECT_EQ(values.value_count(), static_cast<int>(Acceptance::kEnded) + 1);
  for (int i = 1; i < values.value_count(); ++i) {
    std::string name(NameOf(static_cast<Acceptance>(values.value(i)->number())));
    for (char& c : name) c = c == ' ' ? '_' : static_cast<char>(std::toupper(c));
    EXPECT_EQ(values.value(i)->name(), "CHANGEFEED_" + name);
  }
}

}  // namespace
}  // namespace tenure::changefeed
