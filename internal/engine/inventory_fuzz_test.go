package engine_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

// FuzzInventory: whatever page token and filter are sent, the answer is a page of what the filter selects, or a refusal that says what is wrong.
func FuzzInventory(f *testing.F) {
	w := newWorld(f)
	var first kms.Key
	for _, name := range []string{"a", "a/b", strings.Repeat("long/", 20) + "c"} {
		out, err := w.e.CreateKey(f.Context(), admin, engine.CreateKeyInput{Name: name, Algorithm: kms.AES256GCM, Class: "one", Labels: map[string]string{"owner": "ops"}})
		if err != nil {
			f.Fatal(err)
		}
		if first.ID.IsZero() {
			first = out.Key
		}
	}
	f.Add("", "", "", "", "", uint8(0), int64(0), 0)
	f.Add(base64.RawURLEncoding.EncodeToString(first.ID[:]), "a", "one", "ops", "owner", uint8(1), int64(1e9), 1)
	f.Add("AAAA", strings.Repeat("a", 300), "\x00", "\xff", "use", uint8(255), int64(-1), 2000)
	f.Add("///////////////////////", "long/long/long/long/long/", "", "", "access", uint8(6), int64(1<<40), -1)
	f.Fuzz(func(t *testing.T, page, prefix, class, owner, unknown string, word uint8, since int64, limit int) {
		in := engine.InventoryFilter{KeyFilter: engine.KeyFilter{NamePrefix: prefix, Algorithm: kms.Algorithm(word), Usage: kms.Usage(word >> 3), Switch: kms.Switch(word >> 5)}, Origin: kms.Origin(word >> 6),
			State: kms.State(word >> 4), Class: class, Overdue: word&1 != 0}
		if owner != "" {
			in.Labels = map[string]string{"owner": owner}
		}
		if unknown != "" {
			in.Unknown = []string{unknown}
		}
		if since != 0 {
			in.UnusedSince = time.Unix(since, 0)
		}
		out, err := w.e.ReadInventory(t.Context(), admin, engine.InventoryInput{Filter: in, Page: page, Limit: limit})
		if err != nil {
			if k := kms.AsError(err).Kind(); k == kms.KindInternal || k == kms.KindUnavailable {
				t.Fatal(err)
			}
			return
		}
		if len(out.Rows) > 3 {
			t.Errorf("got %d rows of 3 keys", len(out.Rows))
		}
		for _, r := range out.Rows {
			if !strings.HasPrefix(r.Key.Name, prefix) || class != "" && r.Key.Class != class || owner != "" && r.Key.Labels["owner"] != owner {
				t.Errorf("%+v selects %s", in, r.Key.Name)
			}
		}
	})
}
