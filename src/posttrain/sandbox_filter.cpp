#include "posttrain/sandbox_filter.h"

#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "base/error.h"

namespace fathom {
namespace {

/// What no program that solves a task needs: networks, other processes' memory, mounts, modules, keys, and
/// large parts of the kernel that untrusted programs have broken out through. setsid and setpgid would let a
/// process out of the group that is killed in the end. Some are missing on some machines: libseccomp knows.
constexpr const char* kDeniedCalls[] = {"socket",
                                        "connect",
                                        "bind",
                                        "listen",
                                        "accept",
                                        "accept4",
                                        "sendto",
                                        "sendmsg",
                                        "sendmmsg",
                                        "recvmmsg",
                                        "setsid",
                                        "setpgid",
                                        "ptrace",
                                        "process_vm_readv",
                                        "process_vm_writev",
                                        "process_madvise",
                                        "kcmp",
                                        "pidfd_open",
                                        "pidfd_getfd",
                                        "pidfd_send_signal",
                                        "mount",
                                        "umount2",
                                        "pivot_root",
                                        "chroot",
                                        "move_mount",
                                        "open_tree",
                                        "fsopen",
                                        "fsconfig",
                                        "fsmount",
                                        "fspick",
                                        "mount_setattr",
                                        "setns",
                                        "unshare",
                                        "bpf",
                                        "perf_event_open",
                                        "userfaultfd",
                                        "io_uring_setup",
                                        "io_uring_enter",
                                        "io_uring_register",
                                        "add_key",
                                        "request_key",
                                        "keyctl",
                                        "kexec_load",
                                        "kexec_file_load",
                                        "init_module",
                                        "finit_module",
                                        "delete_module",
                                        "reboot",
                                        "swapon",
                                        "swapoff",
                                        "acct",
                                        "quotactl",
                                        "name_to_handle_at",
                                        "open_by_handle_at",
                                        "iopl",
                                        "ioperm",
                                        "modify_ldt",
                                        "fanotify_init",
                                        "syslog",
                                        "vhangup",
                                        "settimeofday",
                                        "clock_settime",
                                        "adjtimex",
                                        "clock_adjtime",
                                        "sethostname",
                                        "setdomainname",
                                        "mbind",
                                        "set_mempolicy",
                                        "migrate_pages",
                                        "move_pages",
                                        "personality",
                                        "memfd_secret",
                                        "shmget",
                                        "shmat",
                                        "shmctl",
                                        "msgget",
                                        "msgsnd",
                                        "msgrcv",
                                        "msgctl",
                                        "semget",
                                        "semop",
                                        "semctl",
                                        "semtimedop",
                                        "mq_open",
                                        "lookup_dcookie",
                                        "setpriority",
                                        "sched_setscheduler",
                                        "sched_setattr"};

constexpr const char* kSignalCalls[] = {"kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"};

using FilterContext = std::unique_ptr<void, void (*)(void*)>;

void add_rule(const FilterContext& context, std::uint32_t action, const char* call) {
  const int number = seccomp_syscall_resolve_name(call);
  if (number == __NR_SCMP_ERROR) return;  // not on this kind of machine
  const int error = seccomp_rule_add(context.get(), action, number, 0);
  require(error == 0 || error == -EEXIST, "the sandbox's filter cannot deny {}: {}", call,
          errno_text(-error));
}

/// Threads are clones that share memory, signals and all else.
void deny_processes(const FilterContext& context) {
  add_rule(context, SCMP_ACT_ERRNO(EPERM), "fork");
  add_rule(context, SCMP_ACT_ERRNO(EPERM), "vfork");
  const int error = seccomp_rule_add(context.get(), SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                                     SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
  require(error == 0, "the sandbox's filter cannot deny clone: {}", errno_text(-error));
}

std::vector<std::byte> exported(const FilterContext& context) {
  const int file = ::memfd_create("fathom-filter", MFD_CLOEXEC);
  require(file >= 0, "no memory for the sandbox's filter: {}", errno_text(errno));
  const int error = seccomp_export_bpf(context.get(), file);
  std::vector<std::byte> filter(error == 0 ? static_cast<std::size_t>(::lseek(file, 0, SEEK_END)) : 0);
  const bool is_read = ::pread(file, filter.data(), filter.size(), 0) == static_cast<ssize_t>(filter.size());
  ::close(file);
  require(error == 0 && is_read, "the sandbox's filter cannot be made: {}", errno_text(-error));
  return filter;
}

}  // namespace

std::vector<std::byte> make_sandbox_filter(const SandboxFilter& filter) {
  // Calls of another architecture (as of 32 bits) kill the process: libseccomp's standard.
  const FilterContext context(seccomp_init(SCMP_ACT_ALLOW), seccomp_release);
  require(context != nullptr, "this system has no seccomp: programs cannot be run in a sandbox here");
  // glibc takes clone instead of clone3 where that is missing, and clone's flags can be looked at.
  add_rule(context, SCMP_ACT_ERRNO(ENOSYS), "clone3");
  for (const char* call : kDeniedCalls) add_rule(context, SCMP_ACT_ERRNO(EPERM), call);
  if (!filter.allows_signals)
    for (const char* call : kSignalCalls) add_rule(context, SCMP_ACT_ERRNO(EPERM), call);
  // A new namespace has capabilities in it, which open most of the kernel's doors.
  constexpr unsigned kNamespaces = CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC |
                                   CLONE_NEWUTS | CLONE_NEWCGROUP;
  for (unsigned bit = 1; bit != 0; bit <<= 1U) {
    if ((kNamespaces & bit) == 0) continue;
    const int error = seccomp_rule_add(context.get(), SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                                       SCMP_A0(SCMP_CMP_MASKED_EQ, bit, bit));
    require(error == 0, "the sandbox's filter cannot deny clone: {}", errno_text(-error));
  }
  if (!filter.allows_processes) deny_processes(context);
  return exported(context);
}

}  // namespace fathom
