// Package kubernetes is the login of service accounts of a Kubernetes cluster by their tokens: the cluster is asked whose a token is, with a TokenReview
// (authentication.k8s.io/v1), and the role says which accounts of which namespaces it is for.
//
// It asks only the address that whoever configured the mount wrote, over TLS that it verifies, follows no redirect, reads bounded answers, and asks so many
// questions at once at most. A token that could not be good whatever the cluster says (another account, another audience, expired) is refused unasked. The token
// of the reviewer is never shown. It refuses clusters without TLS, and selectors of namespaces by their labels, for which it would have to read the cluster.
//
// Model: the Kubernetes method of Vault and OpenBao (https://openbao.org/api-docs/auth/kubernetes/), whose names the documents have;
// https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/.
package kubernetes
