#!/usr/bin/env bash
# Runs a program on several processes of this machine, however few cores it has. usage: mpirun.sh PROCESSES PROGRAM ...
# Under sanitizers, what MPI itself leaks and how it synchronises is not ours to judge.
set -euo pipefail
folder=$(cd "$(dirname "$0")" && pwd)
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
# Whole stacks show that it was MPI that allocated, also in plugins that are gone when leaks are counted.
export ASAN_OPTIONS="fast_unwind_on_malloc=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
export LSAN_OPTIONS="suppressions=$folder/mpi.lsan:print_suppressions=0${LSAN_OPTIONS:+:$LSAN_OPTIONS}"
export TSAN_OPTIONS="suppressions=$folder/mpi.tsan:ignore_noninstrumented_modules=1${TSAN_OPTIONS:+:$TSAN_OPTIONS}"
processes=$1
shift
exec mpirun -n "$processes" --oversubscribe --bind-to none "$@"
