package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyhold/keyhold/client"
)

// journal is what the clients of the server know.
type journal struct {
	t       *testing.T
	server  *process
	writers []*writer
	round   int
	records map[string][]client.AuditRecord // by request id, of the whole log
	newest  time.Time                       // of the records that were read

	acked, unknown, happened int
}

// writer is one client, with keys of its own: it knows what they must be like.
type writer struct {
	j       *journal
	id      int
	rng     *rand.Rand
	keys    map[string]*modelKey
	names   []string
	policy  string // text of the policy that was stored last
	tokens  []string
	done    []op // acknowledged since the last look
	open    *op  // its outcome is not known
	counter int
}

// modelKey is what a key must be like.
type modelKey struct {
	id      string
	primary uint32
	state   string
	sealed  []ciphertext
}

type ciphertext struct {
	plaintext, sealed []byte
	version           uint32
}

// op is one request. Its id is also its idempotency token.
type op struct {
	id, action, key string
	change          bool
	do              func(*client.Client, ...client.Option) error // carries it out and, if it was answered, takes the answer into the model
}

// maxKeys bounds the keys of a writer: the look at them takes time.
const maxKeys = 40

// enabled is the state of a key that can be used.
const (
	enabled  = "enabled"
	disabled = "disabled"
	pending  = "pending-destruction"
)

// run sends requests until the server is gone.
func (w *writer) run(c *client.Client, first chan<- struct{}) {
	for n := 0; ; n++ {
		o := w.next()
		err := o.do(c, client.RequestID(o.id), client.IdempotencyToken(o.id))
		if err != nil {
			if client.CodeOf(err) != client.CodeUnreachable {
				w.j.t.Errorf("%s of %q: %v; %v", o.action, o.key, err, errors.Unwrap(err))
			}
			w.open = &o
			if n == 0 {
				first <- struct{}{}
			}
			return
		}
		w.done = append(w.done, o)
		if n == 0 {
			first <- struct{}{}
		}
	}
}

// next chooses a request.
func (w *writer) next() op {
	w.counter++
	id := fmt.Sprintf("r%d-w%d-%d", w.j.round, w.id, w.counter)
	if len(w.names) == 0 || len(w.names) < maxKeys && w.rng.IntN(8) == 0 {
		return w.create(id)
	}
	name := w.names[w.rng.IntN(len(w.names))]
	k := w.keys[name]
	switch k.state {
	case disabled:
		return w.turn(id, "EnableKey", name, enabled, (*client.Client).EnableKey)
	case pending:
		return w.turn(id, "CancelKeyDestruction", name, enabled, (*client.Client).CancelKeyDestruction)
	}
	switch n := w.rng.IntN(20); {
	case n < 3:
		return w.rotate(id, name)
	case n < 9:
		return w.encrypt(id, name)
	case n < 14 && len(k.sealed) > 0:
		return w.decrypt(id, name, k.sealed[w.rng.IntN(len(k.sealed))])
	case n < 15:
		return w.turn(id, "DisableKey", name, disabled, (*client.Client).DisableKey)
	case n < 16:
		return w.turn(id, "ScheduleKeyDestruction", name, pending, func(c *client.Client, ctx context.Context, key string, o ...client.Option) (client.Key, error) {
			if _, err := c.AssessKey(ctx, key); err != nil {
				return client.Key{}, err
			}
			return c.ScheduleKeyDestruction(ctx, key, 0, o...)
		})
	case n < 17:
		return w.createToken(id)
	default:
		return w.putPolicy(id)
	}
}

func (w *writer) create(id string) op {
	name := fmt.Sprintf("w%d-%d", w.id, w.counter)
	return op{id, "CreateKey", name, true, func(c *client.Client, o ...client.Option) error {
		k, err := c.CreateKey(w.j.t.Context(), client.CreateKeyInput{Name: name, Algorithm: "aes-256-gcm"}, o...)
		if err == nil {
			w.keys[name] = &modelKey{id: k.ID, primary: 1, state: enabled}
			w.names = append(w.names, name)
		}
		return err
	}}
}

func (w *writer) rotate(id, name string) op {
	k := w.keys[name]
	want := k.primary + 1
	return op{id, "RotateKey", name, true, func(c *client.Client, o ...client.Option) error {
		got, err := c.RotateKey(w.j.t.Context(), name, o...)
		if err == nil {
			if k.primary = got.PrimaryVersion; k.primary != want {
				w.j.t.Errorf("%s: rotated to version %d, want %d", name, k.primary, want)
			}
		}
		return err
	}}
}

func (w *writer) encrypt(id, name string) op {
	k := w.keys[name]
	return op{id, "Encrypt", name, false, func(c *client.Client, o ...client.Option) error {
		text := []byte("secret of " + id)
		out, err := c.Encrypt(w.j.t.Context(), client.EncryptInput{Key: name, Plaintext: text}, o...)
		if err == nil {
			k.sealed = append(k.sealed, ciphertext{text, out.Ciphertext, out.Version})
			if out.Version != k.primary {
				w.j.t.Errorf("%s: encrypted with version %d, want %d", name, out.Version, k.primary)
			}
		}
		return err
	}}
}

func (w *writer) decrypt(id, name string, x ciphertext) op {
	return op{id, "Decrypt", name, false, func(c *client.Client, o ...client.Option) error {
		out, err := c.Decrypt(w.j.t.Context(), client.DecryptInput{Ciphertext: x.sealed}, o...)
		if err == nil && !bytes.Equal(out.Plaintext, x.plaintext) {
			w.j.t.Errorf("%s: decrypted to %q, want %q", name, out.Plaintext, x.plaintext)
		}
		return err
	}}
}

// turn moves the key's switch.
func (w *writer) turn(id, action, name, to string, by func(*client.Client, context.Context, string, ...client.Option) (client.Key, error)) op {
	k := w.keys[name]
	return op{id, action, name, true, func(c *client.Client, o ...client.Option) error {
		got, err := by(c, w.j.t.Context(), name, o...)
		if err == nil {
			if k.state = got.State; k.state != to {
				w.j.t.Errorf("%s of %s: it is now %s, want %s", action, name, k.state, to)
			}
		}
		return err
	}}
}

func (w *writer) createToken(id string) op {
	return op{id, "CreateToken", "", true, func(c *client.Client, o ...client.Option) error {
		out, err := c.CreateToken(w.j.t.Context(), client.CreateTokenInput{Principal: "svc/" + id, Roles: []string{"user"}}, o...)
		switch {
		case err == nil:
			w.tokens = append(w.tokens, out.Secret)
		case client.CodeOf(err) == codeAlreadyDone: // what it gave out is shown only once
			return nil
		}
		return err
	}}
}

const codeAlreadyDone = "KH1404"

func (w *writer) putPolicy(id string) op {
	name := fmt.Sprintf("crash-%d", w.id)
	text := fmt.Sprintf("// %s\npermit (principal == Principal::\"svc/%s\", action in [Action::\"Encrypt\"], resource);\n", id, id)
	return op{id, "PutPolicy", "", true, func(c *client.Client, o ...client.Option) error {
		_, err := c.PutPolicy(w.j.t.Context(), name, text, o...)
		if err == nil {
			w.policy = text
		}
		return err
	}}
}

// resolve asks again for what the crash left open: the same request under the same token has one effect.
func (j *journal) resolve(c *client.Client) {
	j.t.Helper()
	for _, w := range j.writers {
		j.acked += len(w.done)
		o := w.open
		if o == nil {
			continue
		}
		j.unknown++
		before := len(j.read(c)[o.id])
		if before > 1 {
			j.t.Errorf("%s %s: %d records of one request", o.action, o.id, before)
		}
		j.happened += before
		if err := o.do(c, client.RequestID(o.id), client.IdempotencyToken(o.id)); err != nil {
			j.t.Errorf("%s of %q, asked again: %v", o.action, o.key, err)
			continue
		}
		w.open = nil
		if o.change {
			w.done = append(w.done, *o)
		}
	}
}

// read reads the records that came since the last time.
func (j *journal) read(c *client.Client) map[string][]client.AuditRecord {
	j.t.Helper()
	seen := make(map[string]bool)
	for _, all := range j.records {
		for _, r := range all {
			seen[r.Position] = true
		}
	}
	for _, r := range must(j.t, c.ListRecords(j.t.Context(), client.AuditFilter{Since: j.newest})) {
		if r.Time.After(j.newest) {
			j.newest = r.Time
		}
		if !seen[r.Position] {
			j.records[r.RequestID] = append(j.records[r.RequestID], r)
		}
	}
	return j.records
}

// check holds the server against the journals.
func (j *journal) check(c *client.Client, all bool) {
	j.t.Helper()
	records := j.read(c)
	for _, w := range j.writers {
		touched := make(map[string]bool)
		for _, o := range w.done {
			ok := 0
			for _, r := range records[o.id] {
				if r.Action == o.action && r.Outcome == "ok" {
					ok++
				}
			}
			if ok != 1 {
				j.t.Errorf("%s %s was acknowledged: %d records of it, want 1: %+v", o.action, o.id, ok, records[o.id])
			}
			touched[o.key] = true
		}
		w.done = nil
		for _, name := range slices.Sorted(maps.Keys(w.keys)) {
			if all || touched[name] || !long {
				j.checkKey(c, w, name)
			}
		}
		w.checkRest(c)
	}
}

func (j *journal) checkKey(c *client.Client, w *writer, name string) {
	j.t.Helper()
	k := w.keys[name]
	got, err := c.DescribeKey(j.t.Context(), name)
	if err != nil || got.ID != k.id || got.PrimaryVersion != k.primary || got.LatestVersion != k.primary || got.State != k.state {
		j.t.Errorf("%s: got %+v, %v; want %+v", name, got, err, k)
	}
	if k.state != enabled || len(k.sealed) == 0 {
		return
	}
	oldest := map[uint32]ciphertext{} // one of each version
	for _, x := range k.sealed {
		if _, ok := oldest[x.version]; !ok {
			oldest[x.version] = x
		}
	}
	for version, x := range oldest {
		out, err := c.Decrypt(j.t.Context(), client.DecryptInput{Ciphertext: x.sealed})
		if err != nil || !bytes.Equal(out.Plaintext, x.plaintext) || out.Version != version {
			j.t.Errorf("%s, version %d: decrypted to %q by %d, %v", name, version, out.Plaintext, out.Version, err)
		}
	}
}

// checkRest looks at the policy, and at the token that was made last.
func (w *writer) checkRest(c *client.Client) {
	t := w.j.t
	t.Helper()
	if w.policy != "" {
		if got, err := c.GetPolicy(t.Context(), fmt.Sprintf("crash-%d", w.id)); err != nil || got.Text != w.policy {
			t.Errorf("policy: got %q, %v; want %q", got.Text, err, w.policy)
		}
	}
	if len(w.tokens) > 0 {
		last := w.tokens[len(w.tokens)-1]
		who, err := w.j.server.client(func(cfg *client.Config) { cfg.Token = last }).WhoAmI(t.Context())
		if err != nil || !strings.HasPrefix(who.Principal, "svc/") {
			t.Errorf("a token that was given out: %+v, %v", who, err)
		}
	}
}

// noChangeWithoutRecord counts what there is against what is recorded.
func (j *journal) noChangeWithoutRecord(c *client.Client) {
	j.t.Helper()
	made := make(map[string]int)
	for _, r := range must(j.t, c.ListRecords(j.t.Context(), client.AuditFilter{ChangesOnly: true})) {
		if r.Outcome == "ok" {
			made[r.Action]++
		}
	}
	keys, rotations := 0, 0
	for _, k := range must(j.t, c.ListKeys(j.t.Context(), client.KeyFilter{})) {
		keys++
		rotations += int(k.PrimaryVersion) - 1
	}
	tokens := len(must(j.t, c.ListTokens(j.t.Context())))
	if keys != made["CreateKey"] || rotations != made["RotateKey"] || tokens != made["CreateToken"] {
		j.t.Errorf("%d keys, %d rotations and %d tokens exist; recorded are %v", keys, rotations, tokens, made)
	}
	known := 0
	for _, w := range j.writers {
		known += len(w.keys)
	}
	if known != keys {
		j.t.Errorf("%d keys exist, %d were asked for", keys, known)
	}
}
