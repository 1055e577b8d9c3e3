#include "infer/group_member.h"

#include "dist/messages.h"
#include "infer/step_plan.h"

namespace fathom {

void GroupMember::follow() {
  while (true) {
    const StepPlan plan = unpack_plan(receive_message(job_, kLeader, kPlanTag));
    if (plan.is_end) return;
    send_message(job_, pack(runner_.execute(plan)), kLeader, kResultTag);
  }
}

}  // namespace fathom
