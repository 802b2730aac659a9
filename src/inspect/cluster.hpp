// A Snapshot of a live cluster: one paged list of each kind the node proxy reads. Nothing is
// watched; the lists are of moments shortly after one another. Loop thread; deadlines are the
// client's. A kind that the server does not have or does not let us see (ServiceCIDRs of older
// clusters, Nodes) is taken as empty; Services and EndpointSlices must be readable.
#pragma once

#include "client/api_client.hpp"
#include "inspect/snapshot.hpp"
#include "io/task.hpp"

namespace fairlead::inspect {

// `client` outlives the task.
io::Task<Result<Snapshot>> read_cluster(client::ApiClient* client);

// The same, with a loop of its own: blocks.
Result<Snapshot> read_cluster_blocking(client::ClusterAccess access);

}  // namespace fairlead::inspect
