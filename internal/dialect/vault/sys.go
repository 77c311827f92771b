package vault

import (
	"context"
	"hash/fnv"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// apiVersion is the version of OpenBao that is followed, marked as not being it (SemVer 2.0 §10): clients ask which features there are by it.
const apiVersion = "2.6.2+keyhold"

// clusterName is shown to clients, which show it to people.
const clusterName = "keyhold"

// Health answers the server's condition by its status, which the query may choose.
func (x *exchange) Health(ctx context.Context) *fault {
	st := x.engine.Status(ctx)
	status, override := http.StatusOK, "activecode"
	switch {
	case !st.Initialised:
		status, override = http.StatusNotImplemented, "uninitcode"
	case st.Sealed:
		status, override = http.StatusServiceUnavailable, "sealedcode"
	case !st.Ready:
		status, override = http.StatusServiceUnavailable, "haunhealthycode"
	}
	if s := x.r.URL.Query().Get(override); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 200 || n > 599 {
			return newFault(http.StatusBadRequest, "bad status code: "+override)
		}
		status = n
	}
	x.status = status
	mode := "disabled"
	if st.Sealed {
		mode = "unknown"
	}
	e := &x.e
	e.open()
	e.yes("initialized", st.Initialised)
	e.yes("sealed", st.Sealed)
	e.yes("standby", st.Sealed)
	e.text("replication_performance_mode", mode)
	e.text("replication_dr_mode", mode)
	e.number("server_time_utc", time.Now().Unix())
	e.text("version", apiVersion)
	x.cluster(&st)
	e.close()
	e.b = append(e.b, '\n')
	return nil
}

// cluster names the cluster, once it can be known to be unsealed.
func (x *exchange) cluster(st *engine.Status) {
	if !st.Sealed {
		x.e.text("cluster_name", clusterName)
		x.e.text("cluster_id", st.Cluster.String())
	}
}

// SealStatus answers how far unsealing has come.
func (x *exchange) SealStatus(ctx context.Context) *fault {
	st := x.engine.Status(ctx)
	progress := 0
	if st.Sealed {
		progress = len(st.Given)
	}
	e := &x.e
	e.open()
	e.text("type", "shamir")
	e.yes("initialized", st.Initialised)
	e.yes("sealed", st.Sealed)
	e.number("t", int64(st.Threshold))
	e.number("n", int64(st.Shares))
	e.number("progress", int64(progress))
	e.text("nonce", "")
	e.yes("recovery_seal", false)
	e.text("version", apiVersion)
	e.text("commit_date", "")
	e.yes("migration", false)
	x.cluster(&st)
	e.text("storage_type", "keyhold")
	e.close()
	e.b = append(e.b, '\n')
	return nil
}

// Leader says that there is no high availability of Vault's kind.
func (x *exchange) Leader(context.Context) *fault {
	x.e.b = append(x.e.b[:0], "{\"ha_enabled\":false}\n"...)
	return nil
}

// Initialised tells whether there is a root key.
func (x *exchange) Initialised(ctx context.Context) *fault {
	x.e.b = append(strconv.AppendBool(append(x.e.b[:0], `{"initialized":`...), x.engine.Status(ctx).Initialised), '}', '\n')
	return nil
}

// mount is a row of sys/mounts.
type mount struct{ path, kind, description string }

func (h *handler) mounted() []mount {
	all := []mount{{"sys", "system", "system endpoints used for control, policy and debugging"}}
	for _, m := range h.mounts {
		all = append(all, mount{m, "transit", ""})
	}
	for _, m := range h.kv {
		all = append(all, mount{m, "kv", "key/value secret storage"})
	}
	slices.SortFunc(all, func(a, b mount) int { return strings.Compare(a.path, b.path) })
	return all
}

func (m mount) members(e *encoder) {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(m.path)) // never fails
	e.text("accessor", m.kind+"_"+strconv.FormatUint(uint64(sum.Sum32()), 16))
	e.name("config")
	e.open()
	e.number("default_lease_ttl", 0)
	e.yes("force_no_cache", false)
	e.number("max_lease_ttl", 0)
	e.close()
	e.text("description", m.description)
	e.yes("external_entropy_access", false)
	e.yes("local", false)
	m.options(e)
	e.text("plugin_version", "")
	e.text("running_plugin_version", apiVersion)
	e.text("type", m.kind)
	e.text("uuid", "")
}

// options are those of a mount: by them clients tell the two versions of KV apart.
func (m mount) options(e *encoder) {
	if m.kind != "kv" {
		e.null("options")
		return
	}
	e.name("options")
	e.open()
	e.text("version", "2")
	e.close()
}

// Mounts lists what there is, and where.
func (x *exchange) Mounts(ctx context.Context) *fault {
	if err := x.known(ctx); err != nil {
		return faultOf(err)
	}
	x.e.open()
	x.list(x.mounted())
	x.e.close()
	return nil
}

func (x *exchange) list(all []mount) {
	for _, m := range all {
		x.e.key(m.path + "/")
		x.e.open()
		m.members(&x.e)
		x.e.close()
	}
}

// known has the engine look at the caller, and record that it asked, where nothing else would.
func (x *exchange) known(ctx context.Context) error {
	_, err := x.engine.WhoAmI(ctx, x.call)
	return err
}

// at finds the mount that a path names or leads into.
func (x *exchange) at(path string) (mount, bool) {
	for _, m := range x.mounted() {
		if path == m.path || strings.HasPrefix(path, m.path+"/") {
			return m, true
		}
	}
	return mount{}, false
}

// Mount answers one row.
func (x *exchange) Mount(ctx context.Context) *fault {
	if err := x.known(ctx); err != nil {
		return faultOf(err)
	}
	m, ok := x.at(x.place.names[0])
	if !ok || m.path != x.place.names[0] {
		return newFault(http.StatusBadRequest, "No secret engine mount at "+clip(x.place.names[0])+"/")
	}
	x.e.open()
	m.members(&x.e)
	x.e.close()
	return nil
}

// Tune answers the settings of a mount.
func (x *exchange) Tune(ctx context.Context) *fault {
	if err := x.known(ctx); err != nil {
		return faultOf(err)
	}
	m, ok := x.at(x.place.names[0])
	if !ok || m.path != x.place.names[0] {
		return newFault(http.StatusBadRequest, "cannot fetch sysview for path \""+clip(x.place.names[0])+"/\"")
	}
	x.e.open()
	x.e.number("default_lease_ttl", 0)
	x.e.text("description", m.description)
	x.e.yes("force_no_cache", false)
	x.e.number("max_lease_ttl", 0)
	m.options(&x.e)
	x.e.close()
	return nil
}

// AddMount answers that a mount is there, or how it gets there.
func (x *exchange) AddMount(ctx context.Context) *fault {
	if err := x.known(ctx); err != nil {
		return faultOf(err)
	}
	path := x.place.names[0]
	if m, ok := x.at(path); ok && m.path == path {
		return newFault(http.StatusBadRequest, "path is already in use at "+clip(path)+"/")
	}
	return newFault(http.StatusBadRequest, "mounts are what the configuration says: add "+clip(path)+" to vault.mounts, or to vault.kv_mounts")
}

// UIMounts answers what the caller may see, as the command lines ask.
func (x *exchange) UIMounts(ctx context.Context) *fault {
	auth := []engine.AuthInfo{tokenAuth}
	may, err := x.engine.CanI(ctx, x.call, engine.CanIInput{Action: kms.ReadAuth})
	if err == nil && may.Explanation.Allowed {
		var out engine.AuthsOutput
		out, err = x.engine.ListAuth(ctx, x.call)
		auth = append(out.Mounts, tokenAuth)
	}
	if err != nil {
		return faultOf(err)
	}
	x.e.open()
	x.e.name("auth")
	x.e.open()
	for i := range auth {
		x.e.key(auth[i].Path + "/")
		x.e.open()
		x.authMount(&auth[i])
		x.e.close()
	}
	x.e.close()
	x.e.name("secret")
	x.e.open()
	x.list(x.mounted())
	x.e.close()
	x.e.close()
	return nil
}

// UIMount answers the mount that a path leads into.
func (x *exchange) UIMount(ctx context.Context) *fault {
	if err := x.known(ctx); err != nil {
		return faultOf(err)
	}
	m, ok := x.at(x.place.names[0])
	if !ok {
		return newFault(http.StatusForbidden, "preflight capability check returned 403, please ensure client's policies grant access to path \""+clip(x.place.names[0])+"/\"")
	}
	x.e.open()
	m.members(&x.e)
	x.e.text("path", m.path+"/")
	x.e.close()
	return nil
}
