#pragma once

#include "dist/communicator.h"
#include "infer/sequence_runner.h"

namespace fathom {

/// What a rank other than the leader does: steps, as `GroupConductor` says, until the end.
class GroupMember {
 public:
  static constexpr int kLeader = 0;
  static constexpr int kPlanTag = 1;
  static constexpr int kResultTag = 2;

  /// Keeps references.
  GroupMember(Communicator& job, SequenceRunner& runner) : job_(job), runner_(runner) {}

  void follow();

 private:
  Communicator& job_;
  SequenceRunner& runner_;
};

}  // namespace fathom
