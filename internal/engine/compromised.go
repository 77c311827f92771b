package engine

import (
	"context"
	"fmt"
	"strings"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/kms"
)

// mayProcessCompromised asks policy whether the caller may, besides, process with compromised versions of a key. Whoever may is heard: in
// the record, in the server's log, and in a counter.
func (w *work) mayProcessCompromised(ctx context.Context, k *admitted, version uint32) bool {
	policies := w.rec.Policies
	w.alias = k.alias
	if err := w.authorizeKey(ctx, k.Key, kms.RefTo(k.ID), kms.ProcessCompromised, k.items); err != nil {
		w.rec.Policies = policies
		return false
	}
	w.rec.Policies = alsoDecided(policies, w.rec.Policies)
	if w.rec.Action == 0 { // looked at again before the release: it was heard already
		return true
	}
	w.rec.Detail = clipTo(strings.TrimPrefix(w.rec.Detail+fmt.Sprintf(", with compromised version %d", version), ", "), 1024)
	w.e.counts.add(kms.ProcessCompromised, w.rec.Dialect, audit.OK)
	w.e.log.Warn("compromised_version_used", "namespace", string(k.Namespace), "key", k.ID.String(), "version", version,
		"action", w.rec.Action.String(), "request_id", w.rec.RequestID)
	return true
}

// may asks policy whether the caller may do something else, too, with a key that was admitted. Nothing comes of it but the answer.
func (w *work) may(ctx context.Context, k *admitted, a kms.Action) bool {
	policies := w.rec.Policies
	defer func() { w.rec.Policies = policies }()
	return w.authorizeKey(ctx, k.Key, kms.RefTo(k.ID), a, k.items) == nil
}

// alsoDecided joins the policies of two decisions.
func alsoDecided(first, second []string) []string {
	all := append(first[:len(first):len(first)], second...)
	return all[:min(len(all), audit.MaxPolicies)]
}
