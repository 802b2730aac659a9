// Where the API server is and how to prove who we are: kubeconfig files, --master, in-cluster
// credentials.
//
// Values only. Loading reads every file a kubeconfig names (certificates, keys) except a token
// file, which is read again while running because it rotates. Errors name the file, the field and
// the value. Source: spec/kube-proxy 1.7 and the documentation of the kubeconfig format. Not here:
// exec plugins, auth providers and proxies; a kubeconfig that asks for them is refused, never half
// obeyed.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "io/tls.hpp"

namespace fairlead::client {

// All that is needed to talk to one API server.
struct ClusterAccess {
  std::string server;                 // URL; may carry a path prefix
  std::optional<std::string> ca_pem;  // absent = the system's roots
  std::string tls_server_name;        // empty = the host of `server`
  bool insecure_skip_tls_verify = false;

  std::optional<io::KeyPair> identity;  // client certificate
  std::string token;                    // bearer token
  std::string token_file;               // preferred to `token` while it can be read
  std::string username, password;       // basic authentication
  std::string impersonate_user;
  std::vector<std::string> impersonate_groups;

  std::string namespace_;  // of the context; empty = "default"
};

// What of the environment decides about in-cluster access; a value so that tests can choose.
struct Surroundings {
  std::string service_host, service_port;  // KUBERNETES_SERVICE_HOST and _PORT
  std::string service_account = "/var/run/secrets/kubernetes.io/serviceaccount";
  std::string kubeconfig;  // KUBECONFIG: files separated by ':'
  std::string home;        // HOME
  static Surroundings of_process();
};

// Exactly this file. `context` empty = its current-context.
Result<ClusterAccess> load_kubeconfig(const std::string& path, const std::string& context = {});
// Several files merged as kubectl does: the first one to define a name, or the current context,
// wins. Missing files are skipped unless all are missing.
Result<ClusterAccess> load_kubeconfigs(const std::vector<std::string>& paths,
                                       const std::string& context = {});

// As kubectl chooses: `path` if given, else $KUBECONFIG, else ~/.kube/config.
Result<ClusterAccess> access_for_user(const std::string& path, const Surroundings& surroundings);
// As kube-proxy chooses: neither kubeconfig nor master = in-cluster; a kubeconfig's server is
// replaced by master; master alone uses no credentials.
Result<ClusterAccess> access_for_node(const std::string& kubeconfig, const std::string& master,
                                      const Surroundings& surroundings);
// Token unreadable is an error; CA unreadable is a warning in the log, and the system's roots are
// used.
Result<ClusterAccess> in_cluster_access(const Surroundings& surroundings);

// A kubeconfig with one cluster, user and context, all called `name`, with everything inline.
std::string format_kubeconfig(const ClusterAccess& access, std::string_view name);
// Written beside and renamed into place, readable by the owner only. Creates the folder if it is
// missing.
Result<void> write_kubeconfig(const std::string& path, const ClusterAccess& access,
                              std::string_view name);

}  // namespace fairlead::client
