// Handlers of the front end's commands, by file. The table that names them is commands.cc.
//
// Threading: the node's executor. A handler writes exactly one reply (CLIENT REPLY OFF and SKIP: none).
#pragma once

#include "resp/commands.h"

namespace tenure::resp {

// connection_commands.cc
void Ping(CommandContext&);
void Echo(CommandContext&);
void Select(CommandContext&);
void Auth(CommandContext&);
void Hello(CommandContext&);
void Quit(CommandContext&);
void ReadOnly(CommandContext&);
void ReadWrite(CommandContext&);
void Asking(CommandContext&);

// client_commands.cc
void ClientId(CommandContext&);
void ClientGetName(CommandContext&);
void ClientSetName(CommandContext&);
void ClientSetInfo(CommandContext&);
void ClientList(CommandContext&);
void ClientInfo(CommandContext&);
void ClientKill(CommandContext&);
void ClientReply(CommandContext&);
void ClientNoEvict(CommandContext&);
void ClientNoTouch(CommandContext&);
void ClientUnpause(CommandContext&);
void ClientGetRedir(CommandContext&);
void ClientTracking(CommandContext&);
void ClientPause(CommandContext&);
void ClientHelp(CommandContext&);

// server_commands.cc
void Info(CommandContext&);
void ConfigGet(CommandContext&);
void ConfigSet(CommandContext&);
void ConfigResetStat(CommandContext&);
void ConfigHelp(CommandContext&);
void Time(CommandContext&);
void DbSize(CommandContext&);
void Wait(CommandContext&);

// command_commands.cc
void Command(CommandContext&);
void CommandCount(CommandContext&);
void CommandList(CommandContext&);
void CommandInfo(CommandContext&);
void CommandDocs(CommandContext&);
void CommandGetKeys(CommandContext&);
void CommandHelp(CommandContext&);

// cluster_commands.cc
void ClusterSlots(CommandContext&);
void ClusterShards(CommandContext&);
void ClusterNodes(CommandContext&);
void ClusterInfo(CommandContext&);
void ClusterMyId(CommandContext&);
void ClusterMyShardId(CommandContext&);
void ClusterKeySlot(CommandContext&);
void ClusterCountKeysInSlot(CommandContext&);
void ClusterGetKeysInSlot(CommandContext&);
void ClusterLinks(CommandContext&);
void ClusterReplicas(CommandContext&);
void ClusterCountFailureReports(CommandContext&);
void ClusterSaveConfig(CommandContext&);
void ClusterElsewhere(CommandContext&);  // what has another command here
void ClusterHelp(CommandContext&);

}  // namespace tenure::resp
