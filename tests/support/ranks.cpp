#include "support/ranks.h"

#include <exception>
#include <memory>
#include <thread>
#include <vector>

#include "dist/local_communicator.h"

namespace fathom::test {

void on_ranks(int count, const std::function<void(Communicator& ranks)>& body, int ranks_per_node) {
  const std::vector<std::unique_ptr<Communicator>> ranks = local_communicators(count, ranks_per_node);
  std::vector<std::exception_ptr> errors(ranks.size());
  std::vector<std::thread> threads;
  for (std::size_t r = 0; r < ranks.size(); ++r)
    threads.emplace_back([&, r] {
      try {
        body(*ranks[r]);
      } catch (...) {
        errors[r] = std::current_exception();
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
}

}  // namespace fathom::test
