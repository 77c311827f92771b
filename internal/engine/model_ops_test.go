package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret/release"
)

// player plays operations on a server and on the model.
type player struct {
	m       *machine
	model   *model
	who     map[string]*caller
	anybody []*caller
	request string // the id of its calls
	prefix  string // of its keys' names
	label   map[kms.ID]string
	ciphers []*made
	sigs    []*made
	macs    []*made
	told    []string // what was done, for people
	want    []string // records that are expected of the operation under way
	trail   []string // of the whole log, in order
	serial  int

	trusted time.Time       // the high-water mark as last seen
	stored  time.Time       // what of it a kill leaves, at least
	budget  time.Time       // which it cannot have passed
	byDate  map[string]bool // versions for which a date brought something
	written map[string]bool // of which that is recorded
	alone   bool            // nobody else uses the server
	wire    surface         // nil: the engine itself
}

func newPlayer(m *machine, request string) *player {
	p := &player{m: m, model: newModel(), who: map[string]*caller{}, request: request, label: map[kms.ID]string{}, byDate: map[string]bool{}, written: map[string]bool{}, alone: true}
	p.anybody = people()
	for _, c := range p.anybody {
		p.who[c.name] = c
	}
	p.trusted, p.stored, p.budget = m.now(), m.now(), m.now().Add(25*time.Hour)
	p.model.rolled = m.now()
	return p
}

// surface is what operations on keys go through.
type surface interface {
	CreateKey(context.Context, kms.Call, engine.CreateKeyInput) (engine.KeyOutput, error)
	UpdateKey(context.Context, kms.Call, engine.UpdateKeyInput) (engine.KeyOutput, error)
	RotateKey(context.Context, kms.Call, engine.RotateKeyInput) (engine.KeyOutput, error)
	DescribeKey(context.Context, kms.Call, engine.KeyInput) (engine.KeyOutput, error)
	EnableKey(context.Context, kms.Call, engine.KeyInput) (engine.KeyOutput, error)
	DisableKey(context.Context, kms.Call, engine.KeyInput) (engine.KeyOutput, error)
	SuspendKey(context.Context, kms.Call, engine.KeyInput) (engine.KeyOutput, error)
	ResumeKey(context.Context, kms.Call, engine.KeyInput) (engine.KeyOutput, error)
	DeactivateVersion(context.Context, kms.Call, engine.DeactivateInput) (engine.KeyOutput, error)
	SuspendVersion(context.Context, kms.Call, engine.VersionInput) (engine.KeyOutput, error)
	ResumeVersion(context.Context, kms.Call, engine.VersionInput) (engine.KeyOutput, error)
	ArchiveVersion(context.Context, kms.Call, engine.ArchiveInput) (engine.KeyOutput, error)
	CompromiseVersion(context.Context, kms.Call, engine.CompromiseInput) (engine.CompromiseOutput, error)
	ScheduleKeyDestruction(context.Context, kms.Call, engine.DestroyInput) (engine.KeyOutput, error)
	CancelKeyDestruction(context.Context, kms.Call, engine.CancelInput) (engine.KeyOutput, error)
	Encrypt(context.Context, kms.Call, engine.EncryptInput) (engine.EncryptOutput, error)
	Decrypt(context.Context, kms.Call, engine.DecryptInput) (engine.DecryptOutput, error)
	ReEncrypt(context.Context, kms.Call, engine.ReEncryptInput) (engine.ReEncryptOutput, error)
	GenerateDataKey(context.Context, kms.Call, engine.DataKeyInput) (engine.DataKeyOutput, error)
	Sign(context.Context, kms.Call, engine.SignInput) (engine.SignOutput, error)
	Verify(context.Context, kms.Call, engine.VerifyInput) (engine.VerifyOutput, error)
	GenerateMAC(context.Context, kms.Call, engine.MACInput) (engine.MACOutput, error)
	VerifyMAC(context.Context, kms.Call, engine.VerifyMACInput) (engine.VerifyOutput, error)
	GetPublicKey(context.Context, kms.Call, engine.PublicKeyInput) (engine.PublicKeyOutput, error)
}

func (p *player) api() surface {
	if p.wire != nil {
		return p.wire
	}
	return p.m.e
}

// An operation plays one step. It answers what was done, for people, and what is wrong.
type operation struct {
	name   string
	weight int
	play   func(*player, [4]uint32) (string, error)
}

var onKeys = []operation{
	{"create", 8, (*player).create}, {"rotate", 4, (*player).rotate}, {"encrypt", 12, (*player).encrypt}, {"decrypt", 12, (*player).decrypt},
	{"decrypt batch", 5, (*player).decryptBatch}, {"re-encrypt", 5, (*player).reEncrypt}, {"data key", 4, (*player).dataKey},
	{"sign", 5, (*player).sign}, {"verify", 6, (*player).verify}, {"mac", 5, (*player).mac}, {"verify mac", 6, (*player).verifyMAC},
	{"switch", 10, (*player).turn}, {"deactivate", 4, (*player).deactivate}, {"version", 6, (*player).stepVersion}, {"compromise", 2, (*player).compromise}, {"schedule", 4, (*player).schedule}, {"update", 5, (*player).update},
	{"public key", 2, (*player).publicKey}, {"describe", 4, (*player).describe}, {"again", 4, (*player).again},
}

var everything = append(slices.Clone(onKeys),
	operation{"rotate later", 3, (*player).rotateLater}, operation{"activate", 4, (*player).activate}, operation{"deactivate later", 3, (*player).deactivateLater},
	operation{"schedule rotation", 8, (*player).scheduleRotation},
	operation{"list", 2, (*player).list}, operation{"policy", 3, (*player).policy}, operation{"token", 3, (*player).token},
	operation{"look up", 3, (*player).lookUp}, operation{"time", 9, (*player).time}, operation{"clock", 2, (*player).clock},
	operation{"confirm", 2, (*player).confirm}, operation{"roll", 1, (*player).roll}, operation{"root", 1, (*player).root},
	operation{"seal", 1, (*player).seal}, operation{"restart", 2, (*player).restart})

func (p *player) step(of []operation, s step) error {
	p.want = nil
	p.reach()
	what, err := of[s.kind].play(p, s.r)
	p.told = append(p.told, fmt.Sprintf("%s: %s", of[s.kind].name, what))
	if err == nil {
		err = p.records()
	}
	if err != nil {
		return fmt.Errorf("%s: %s: %w", of[s.kind].name, what, err)
	}
	return nil
}

// begin unseals, and makes the tenant.
func (p *player) begin() error {
	p.trail = append(p.trail, "StartServer ok", "InitServer ok change by uid:0")
	p.m.tape.take("") // of initialisation
	if err := p.open(); err != nil {
		return err
	}
	return p.tenant()
}

func (p *player) open() error {
	c := local()
	c.RequestID = p.request
	p.expect("UnsealServer ok by uid:0")
	return p.m.unseal(c)
}

func (p *player) tenant() error {
	_, err := p.m.e.CreateNamespace(p.m.t.Context(), p.call(p.who["op"], kms.SystemNamespace), engine.NamespaceInput{Name: "tenant"})
	p.expect("CreateNamespace ok change by op")
	return errors.Join(err, p.records())
}

func (p *player) call(c *caller, ns kms.Namespace) kms.Call {
	return kms.Call{Principal: c.p, Namespace: ns, Dialect: kms.DialectNative, RequestID: p.request}
}

// expect says what the next record is.
func (p *player) expect(format string, args ...any) {
	p.want = append(p.want, fmt.Sprintf(format, args...))
}

// use expects the record of an operation on keys, and compares the code that it ended with.
func (p *player) use(c *caller, err error, want kms.Code, a kms.Action, o audit.Outcome, keys string, items ...kms.Code) error {
	line := a.String() + " "
	if want != 0 {
		line += outcome(want).String() + " " + want.String()
	} else {
		line += o.String()
	}
	line += keys
	if len(items) > 1 {
		line += fmt.Sprintf(" items %v", items)
	}
	p.expect("%s by %s", line, c.name)
	if got := kms.CodeOf(err); got != want {
		return fmt.Errorf("got %v (%v) want %v", got, err, want)
	}
	return nil
}

// on writes the keys of a record: the version is shown once it was looked for.
func (p *player) on(named bool, k *mKey, version uint32) string {
	if !named {
		return ""
	}
	return fmt.Sprintf(" %s:%d", p.label[k.id], version)
}

// line writes a record as the model expects it.
func (p *player) line(r *audit.Record) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", r.Action, r.Outcome)
	if r.Code != 0 {
		fmt.Fprintf(&b, " %s", r.Code)
	}
	for _, u := range r.Keys {
		l, ok := p.label[u.Key]
		if !ok {
			l = u.Key.String()
		}
		fmt.Fprintf(&b, " %s:%d", l, u.Version)
	}
	if len(r.Items) > 0 {
		codes := make([]kms.Code, len(r.Items))
		for i := range r.Items {
			codes[i] = r.Items[i].Code
		}
		fmt.Fprintf(&b, " items %v", codes)
	}
	if r.Change {
		b.WriteString(" change")
	}
	if r.Name != "" {
		b.WriteString(" by " + r.Name)
	}
	return b.String()
}

// records compares what was recorded with what was expected.
func (p *player) records() error {
	var got []string
	for _, r := range p.m.tape.take(p.request) {
		got = append(got, p.line(&r))
	}
	if p.alone {
		for _, r := range p.m.tape.take("") { // of the server itself
			got = append(got, p.line(&r))
		}
	}
	got = p.byDates(got)
	p.trail = append(p.trail, p.want...)
	want := p.want
	p.want = nil
	if !slices.Equal(inAnyOrder(got), inAnyOrder(want)) {
		return fmt.Errorf("records differ: got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
	return nil
}

func pick[T any](of []T, r uint32) (none T) {
	if len(of) == 0 {
		return none
	}
	return of[int(r)%len(of)]
}

// someone is mostly who may, sometimes anybody, sometimes elsewhere.
func (p *player) someone(r uint32, role kms.Role, ns kms.Namespace) (*caller, kms.Namespace) {
	if ns == "" {
		ns = "default"
	}
	if r%16 == 0 {
		return pick(p.anybody, r>>8), ns
	}
	var c *caller
	for _, x := range p.who {
		if x.role == role && x.home == ns && len(x.scope) == 0 {
			c = x
		}
	}
	if r%16 == 1 {
		return c, pick([]kms.Namespace{"default", "tenant", "nowhere"}, r>>8)
	}
	return c, ns
}

// aKey is one of the keys and a way to name it; rarely there is none of that name.
func (p *player) aKey(r uint32) (*mKey, kms.Ref) {
	if len(p.model.keys) == 0 || r%32 == 0 {
		return nil, "no/such/key"
	}
	k := pick(p.model.keys, r>>5)
	switch {
	case r%3 == 0:
		return k, kms.RefTo(k.id)
	case r%3 == 1 && len(k.aliases) > 0:
		return k, kms.Ref("alias/" + k.aliases[0])
	}
	return k, kms.Ref(k.name)
}

// aKeyFor is mostly one that serves a usage.
func (p *player) aKeyFor(r uint32, u kms.Usage) (*mKey, kms.Ref) {
	var fit []*mKey
	for _, k := range p.model.keys {
		if k.usage == u {
			fit = append(fit, k)
		}
	}
	if k := pick(fit, r>>5); k != nil && r%8 != 0 {
		return k, kms.Ref(k.name)
	}
	return p.aKey(r)
}

func ns(k *mKey) kms.Namespace {
	if k == nil {
		return ""
	}
	return k.ns
}

// found is the key as it is seen from a namespace.
func found(k *mKey, ns kms.Namespace) *mKey {
	if k != nil && k.ns == ns {
		return k
	}
	return nil
}

var contexts = []kms.Context{nil, {"tenant": "a"}, {"tenant": "b", "purpose": "test"}}

func quick() []kms.Algorithm {
	var all []kms.Algorithm
	for _, a := range kms.AllAlgorithms() {
		if f := a.Facts(); !f.Slow && !f.SlowSign {
			all = append(all, a)
		}
	}
	return all
}

func (p *player) create(r [4]uint32) (string, error) {
	c, ns := p.someone(r[0], kms.RoleAdmin, pick([]kms.Namespace{"default", "default", "tenant"}, r[3]))
	a := pick(quick(), r[1])
	if r[1]%4 != 0 { // more of what the operations are about
		a = pick([]kms.Algorithm{kms.AES256GCM, kms.AES256GCM, kms.HMACSHA256, kms.ECDSAP256, kms.Ed25519, kms.ChaCha20Poly1305}, r[1]>>2)
	}
	u := pick(a.Usages(), r[2])
	p.serial++
	name := fmt.Sprintf("%sk%d", p.prefix, p.serial)
	if r[2]%16 == 0 && len(p.model.keys) > 0 {
		name = pick(p.model.keys, r[3]).name
	}
	in := engine.CreateKeyInput{Name: name, Algorithm: a, Usage: u, Labels: map[string]string{"n": fmt.Sprint(p.serial)}}
	if r[3]%4 == 0 {
		in.Aliases = []string{name + "/alias"}
	}
	call := p.call(c, ns)
	call.DryRun = r[3]%16 == 1
	if r[3]%4 == 2 {
		call.Token = fmt.Sprintf("%stoken%d", p.prefix, p.serial)
	}
	if p.alone && p.wire == nil && r[3]%8 == 5 {
		in.Dates = someDates(p, r[3]>>8)
	}
	at := p.m.e.Now()
	out, err := p.api().CreateKey(p.m.t.Context(), call, in)
	what := fmt.Sprintf("%s in %s creates %s, %s, dry run %v, token %q", c.name, ns, name, a, call.DryRun, call.Token)
	code := p.model.enter(c, ns)
	if code == 0 {
		code = p.model.may(c, ns, kms.CreateKey)
	}
	if code == 0 && p.model.named(ns, name) != nil {
		code = kms.CodeExists
	}
	if code != 0 || call.DryRun {
		return what, p.use(c, err, code, kms.CreateKey, audit.DryRun, "")
	}
	k := &mKey{id: out.Key.ID, ns: ns, name: name, aliases: in.Aliases, algorithm: a, usage: u, labels: maps.Clone(in.Labels), position: kms.Enabled, idle: map[uint32]bool{}, used: map[uint32]uint64{}, asked: map[uint32]time.Time{}}
	switch {
	case in.Dates.PreActive:
		k.protects(k.add(kms.PreActive, mDates{}), time.Time{})
	case !in.Dates.ActivateAt.IsZero():
		k.protects(k.add(kms.PreActive, mDates{activate: in.Dates.ActivateAt}), in.Dates.ActivateAt)
	default:
		k.protects(k.add(kms.Active, mDates{}), at)
	}
	p.model.keys = append(p.model.keys, k)
	p.label[k.id] = name
	if call.Token != "" {
		p.model.idems = append(p.model.idems, &mIdem{at: at, action: kms.CreateKey, who: c, ns: ns, id: k.id, latest: 1, again: func(other bool) (kms.ID, uint32, error) {
			in := in
			if other {
				in.Description = "another"
			}
			out, err := p.api().CreateKey(p.m.t.Context(), call, in)
			return out.Key.ID, out.Key.Latest, err
		}})
	}
	return what, errors.Join(p.use(c, err, 0, kms.CreateKey, audit.OK, p.on(true, k, 1)+" change"), p.same(k, &out.Key))
}

// again repeats a change that carried an idempotency token.
func (p *player) again(r [4]uint32) (string, error) {
	i := pick(p.model.idems, r[0])
	if i == nil {
		return "nothing was done with a token", nil
	}
	other := r[1]%4 == 0
	id, latest, err := i.again(other)
	what := fmt.Sprintf("%s repeats %s, another request %v", i.who.name, i.action, other)
	code, keys := p.model.enter(i.who, i.ns), ""
	if i.key != nil {
		var named bool
		code, named = p.model.admit(i.who, i.ns, i.key, i.action, rotate)
		keys = p.on(named, i.key, 0)
	} else if code == 0 {
		code = p.model.may(i.who, i.ns, i.action)
	}
	if code == 0 && other {
		code = kms.CodeTokenReused
	}
	if err := p.use(i.who, err, code, i.action, audit.Replayed, keys); err != nil {
		return what, err
	}
	if code == 0 && (id != i.id || latest != i.latest) {
		return what, fmt.Errorf("got key %s at %d, want %s at %d", id, latest, i.id, i.latest)
	}
	return what, nil
}

func (p *player) rotate(r [4]uint32) (string, error) {
	k, ref := p.aKey(r[0])
	c, ns := p.someone(r[1], kms.RoleAdmin, ns(k))
	k = p.model.resolve(ns, ref)
	call := p.call(c, ns)
	call.DryRun = r[2]%16 == 0
	if r[2]%4 == 1 && k != nil {
		ref = kms.RefTo(k.id) // the same request later, whatever the key is called then
		p.serial++
		call.Token = fmt.Sprintf("%stoken%d", p.prefix, p.serial)
	}
	at := p.m.e.Now()
	out, err := p.api().RotateKey(p.m.t.Context(), call, engine.RotateKeyInput{Key: ref})
	what := fmt.Sprintf("%s in %s rotates %s, dry run %v, token %q", c.name, ns, ref, call.DryRun, call.Token)
	code, named := p.model.admit(c, ns, k, kms.RotateKey, rotate)
	if code != 0 {
		return what, p.use(c, err, code, kms.RotateKey, 0, p.on(named, k, 0))
	}
	if call.DryRun {
		return what, p.use(c, err, 0, kms.RotateKey, audit.DryRun, p.on(true, k, k.latest()+1))
	}
	k.settle(at)
	k.protects(k.add(kms.Active, mDates{}), at)
	if call.Token != "" {
		p.model.idems = append(p.model.idems, &mIdem{at: at, action: kms.RotateKey, key: k, who: c, ns: ns, id: k.id, latest: k.latest(), again: func(other bool) (kms.ID, uint32, error) {
			ref := ref
			if other {
				ref = kms.Ref(k.name)
			}
			out, err := p.api().RotateKey(p.m.t.Context(), call, engine.RotateKeyInput{Key: ref})
			return out.Key.ID, out.Key.Latest, err
		}})
	}
	return what, errors.Join(p.use(c, err, 0, kms.RotateKey, audit.OK, p.on(true, k, k.primary())+" change"), p.same(k, &out.Key))
}

func plaintext(r uint32) []byte { return bytes.Repeat([]byte{byte(r)}, int(r>>8)%200+1) }

func (p *player) encrypt(r [4]uint32) (string, error) {
	k, ref := p.aKeyFor(r[0], kms.EncryptDecrypt)
	if l := p.model.limited(r[0] >> 5); l != nil && r[0]%2 == 0 {
		k, ref = l, kms.Ref(l.name)
	}
	c, ns := p.someone(r[1], kms.RoleUser, ns(k))
	k = p.model.resolve(ns, ref)
	call := p.call(c, ns)
	call.DryRun = r[2]%32 == 0
	n := 1
	if r[2]%4 == 1 {
		n = int(r[2]>>8)%4 + 1
	}
	if k != nil && k.limit != 0 { // so that limits are reached
		n = int(r[2]>>8)%8 + 1
	}
	if r[2]%64 == 2 {
		n = 0
	}
	if p.wire != nil {
		n = 1 // batches of the wire may be of several keys: they are operations of their own
	}
	in := engine.EncryptInput{Key: ref}
	if k != nil && r[3]%8 == 0 {
		in.Version = (r[3]>>8)%(k.latest()+1) + 1
	}
	for i := range n {
		in.Items = append(in.Items, engine.EncryptItem{Plaintext: plaintext(r[2] + uint32(i)), Context: pick(contexts, r[3]+uint32(i))})
	}
	out, err := p.api().Encrypt(p.m.t.Context(), call, in)
	what := fmt.Sprintf("%s in %s encrypts %d items with %s version %d, dry run %v", c.name, ns, n, ref, in.Version, call.DryRun)
	if code := p.model.enter(c, ns); n == 0 && code == 0 {
		return what, p.use(c, err, kms.CodeTooLarge, kms.Encrypt, 0, "")
	}
	code, named := p.model.admit(c, ns, k, kms.Encrypt, protect)
	if code != 0 || call.DryRun {
		return what, p.use(c, err, code, kms.Encrypt, audit.DryRun, p.on(named, k, 0))
	}
	v, code := k.version(in.Version, protect)
	if code == 0 {
		code = p.spend(k, v, n)
	}
	if code == 0 && k.usage != kms.EncryptDecrypt {
		code = kms.CodeUsage
	}
	if code != 0 {
		if code == kms.CodeVersionNotFound {
			v = 0
		}
		return what, p.use(c, err, code, kms.Encrypt, 0, p.on(true, k, v))
	}
	if err := p.use(c, err, 0, kms.Encrypt, audit.OK, p.on(true, k, v), make([]kms.Code, n)...); err != nil {
		return what, err
	}
	if out.Version != v || out.Key != k.id || len(out.Items) != n {
		return what, fmt.Errorf("got %+v", out)
	}
	for i, it := range in.Items {
		p.ciphers = append(p.ciphers, &made{key: k, version: v, input: it.Plaintext, context: it.Context, output: out.Items[i].Ciphertext})
	}
	return what, nil
}

// opened is what opening a ciphertext of a key with a context meets.
func (m *made) opened(k *mKey, ctx kms.Context, spoilt bool) (version uint32, code kms.Code) {
	if m.key != k {
		return 0, kms.CodeWrongKey
	}
	v, code := k.version(m.version, process)
	if code == 0 && (spoilt || !maps.Equal(ctx, m.context)) {
		code = kms.CodeDecryptFailed
	}
	return v, code
}

// variant is a ciphertext, sometimes spoilt, with its own or another context.
func (m *made) variant(r uint32) (ciphertext []byte, ctx kms.Context, spoilt bool) {
	ciphertext, ctx = bytes.Clone(m.output), m.context
	switch r % 8 {
	case 0:
		ctx = pick(contexts, r>>8)
	case 1:
		ciphertext[len(ciphertext)-1-int(r>>8)%16] ^= 0x20
		spoilt = true
	}
	return ciphertext, ctx, spoilt
}

func (p *player) decrypt(r [4]uint32) (string, error) {
	x := pick(p.ciphers, r[0])
	if x == nil {
		return "there is no ciphertext", nil
	}
	c, ns := p.someone(r[1], kms.RoleUser, x.key.ns)
	call := p.call(c, ns)
	call.DryRun = r[3]%32 == 0
	text, ctx, spoilt := x.variant(r[2])
	in := engine.DecryptInput{Items: []engine.DecryptItem{{Ciphertext: text, Context: ctx}}}
	k := x.key
	if r[3]%8 == 1 {
		_, in.Key = p.aKey(r[3] >> 8)
		k = p.model.resolve(ns, in.Key)
	}
	out, err := p.api().Decrypt(p.m.t.Context(), call, in)
	what := fmt.Sprintf("%s in %s decrypts with %q what %s made, context %v, spoilt %v, dry run %v", c.name, ns, in.Key, x.key.name, ctx, spoilt, call.DryRun)
	code, named := p.model.admit(c, ns, k, kms.Decrypt, process)
	if code != 0 || call.DryRun {
		return what, p.use(c, err, code, kms.Decrypt, audit.DryRun, p.on(named, k, 0))
	}
	v, code := x.opened(k, ctx, spoilt)
	if err := p.use(c, err, code, kms.Decrypt, audit.OK, p.on(true, k, v)); err != nil || code != 0 {
		return what, err
	}
	if got := out.Items[0].Plaintext.Wire(release.Wire{}); !bytes.Equal(got, x.input) || out.Items[0].Version != v {
		return what, fmt.Errorf("got %x of version %d, want %x of version %d", got, out.Items[0].Version, x.input, v)
	}
	return what, nil
}

func (p *player) decryptBatch(r [4]uint32) (string, error) {
	if len(p.ciphers) == 0 {
		return "there is no ciphertext", nil
	}
	first := pick(p.ciphers, r[0])
	k := first.key
	c, ns := p.someone(r[1], kms.RoleUser, k.ns)
	in := engine.DecryptInput{}
	var all []*made
	var codes []kms.Code
	version := uint32(0)
	for i := range r[2]%4 + 2 {
		x := first
		if i > 0 {
			x = pick(p.ciphers, r[3]*(i+1)+i)
		}
		text, ctx, spoilt := x.variant(r[2] >> (3 * i))
		in.Items = append(in.Items, engine.DecryptItem{Ciphertext: text, Context: ctx})
		v, code := x.opened(k, ctx, spoilt)
		if version == 0 {
			version = v
		}
		all, codes = append(all, x), append(codes, code)
	}
	out, err := p.api().Decrypt(p.m.t.Context(), p.call(c, ns), in)
	what := fmt.Sprintf("%s in %s decrypts %d items, the first of %s", c.name, ns, len(all), k.name)
	code, named := p.model.admit(c, ns, k, kms.Decrypt, process)
	if code != 0 {
		return what, p.use(c, err, code, kms.Decrypt, 0, p.on(named, k, 0))
	}
	if err := p.use(c, err, 0, kms.Decrypt, audit.OK, p.on(true, k, version), codes...); err != nil {
		return what, err
	}
	for i, x := range all {
		if got := kms.CodeOf(fail(out.Items[i].Err)); got != codes[i] {
			return what, fmt.Errorf("item %d: got %v want %v", i, got, codes[i])
		}
		if got := out.Items[i].Plaintext.Wire(release.Wire{}); codes[i] == 0 != bytes.Equal(got, x.input) {
			return what, fmt.Errorf("item %d: got %x, want %x and %v", i, got, x.input, codes[i])
		}
	}
	return what, nil
}

// fail keeps a nil *kms.Error a nil error.
func fail(e *kms.Error) error {
	if e == nil {
		return nil
	}
	return e
}

func (p *player) reEncrypt(r [4]uint32) (string, error) {
	x := pick(p.ciphers, r[0])
	if x == nil {
		return "there is no ciphertext", nil
	}
	_, ref := p.aKeyFor(r[3], kms.EncryptDecrypt)
	c, ns := p.someone(r[1], kms.RoleUser, x.key.ns)
	to := p.model.resolve(ns, ref)
	text, ctx, spoilt := x.variant(r[2])
	after := pick(contexts, r[2]>>16)
	out, err := p.api().ReEncrypt(p.m.t.Context(), p.call(c, ns), engine.ReEncryptInput{To: ref, Items: []engine.ReEncryptItem{{Ciphertext: text, FromContext: ctx, ToContext: after}}})
	what := fmt.Sprintf("%s in %s re-encrypts from %s to %s, context %v, spoilt %v", c.name, ns, x.key.name, ref, ctx, spoilt)
	code, named := p.model.admit(c, ns, x.key, kms.ReEncryptFrom, process)
	keys := p.on(named, x.key, 0)
	if code != 0 {
		return what, p.use(c, err, code, kms.ReEncrypt, 0, keys)
	}
	code, named = p.model.admit(c, ns, to, kms.ReEncryptTo, protect)
	if code != 0 {
		return what, p.use(c, err, code, kms.ReEncrypt, 0, keys+p.on(named, to, 0))
	}
	_, code = to.version(0, protect)
	if code == 0 {
		code = p.spend(to, to.primary(), 1)
	}
	if code != 0 {
		return what, p.use(c, err, code, kms.ReEncrypt, 0, p.on(true, x.key, 0)+p.on(true, to, to.primary()))
	}
	v, code := x.opened(x.key, ctx, spoilt)
	if code == 0 && to.usage != kms.EncryptDecrypt {
		code = kms.CodeUsage
	}
	if err := p.use(c, err, code, kms.ReEncrypt, audit.OK, p.on(true, x.key, v)+p.on(true, to, to.primary())); err != nil || code != 0 {
		return what, err
	}
	p.ciphers = append(p.ciphers, &made{key: to, version: to.primary(), input: x.input, context: after, output: out.Items[0].Ciphertext})
	return what, nil
}

func (p *player) dataKey(r [4]uint32) (string, error) {
	k, ref := p.aKeyFor(r[0], kms.EncryptDecrypt)
	c, ns := p.someone(r[1], kms.RoleUser, ns(k))
	k = p.model.resolve(ns, ref)
	in := engine.DataKeyInput{Key: ref, Bytes: 32, Context: pick(contexts, r[2]), Count: int(r[3] % 3), WithoutPlaintext: r[2]%3 == 0}
	if p.wire != nil {
		in.Count = 1
	}
	out, err := p.api().GenerateDataKey(p.m.t.Context(), p.call(c, ns), in)
	a := kms.GenerateDataKey
	if in.WithoutPlaintext {
		a = kms.GenerateDataKeyWithoutPlaintext
	}
	what := fmt.Sprintf("%s in %s makes %d data keys with %s", c.name, ns, in.Count, ref)
	code, named := p.model.admit(c, ns, k, a, protect)
	if code != 0 {
		return what, p.use(c, err, code, a, 0, p.on(named, k, 0))
	}
	if k.algorithm.Facts().Asymmetric {
		return what, p.use(c, err, kms.CodeAlgorithm, a, 0, p.on(true, k, 0))
	}
	if _, code = k.version(0, protect); code == 0 {
		code = p.spend(k, k.primary(), max(in.Count, 1))
	}
	if code == 0 && k.usage != kms.EncryptDecrypt {
		code = kms.CodeUsage
	}
	if code != 0 {
		return what, p.use(c, err, code, a, 0, p.on(true, k, k.primary()))
	}
	if err := p.use(c, err, 0, a, audit.OK, p.on(true, k, k.primary()), make([]kms.Code, in.Count)...); err != nil {
		return what, err
	}
	for _, it := range out.Items {
		plain := bytes.Clone(it.Plaintext.Wire(release.Wire{}))
		if (len(plain) == 0) != in.WithoutPlaintext {
			return what, fmt.Errorf("the plaintext has %d bytes", len(plain))
		}
		if !in.WithoutPlaintext {
			p.ciphers = append(p.ciphers, &made{key: k, version: k.primary(), input: plain, context: in.Context, output: it.Ciphertext})
		}
	}
	return what, nil
}

func (p *player) sign(r [4]uint32) (string, error) {
	return p.make(r, kms.Sign, kms.SignVerify, &p.sigs, func(call kms.Call, ref kms.Ref, msg []byte) ([]byte, error) {
		out, err := p.api().Sign(p.m.t.Context(), call, engine.SignInput{Key: ref, Items: []engine.SignItem{{Message: msg}}})
		if err != nil {
			return nil, err
		}
		return out.Items[0].Signature, nil
	})
}

func (p *player) mac(r [4]uint32) (string, error) {
	return p.make(r, kms.GenerateMAC, kms.MAC, &p.macs, func(call kms.Call, ref kms.Ref, msg []byte) ([]byte, error) {
		out, err := p.api().GenerateMAC(p.m.t.Context(), call, engine.MACInput{Key: ref, Items: []engine.MACItem{{Message: msg}}})
		if err != nil {
			return nil, err
		}
		return out.Items[0].MAC, nil
	})
}

// make is what signing and making a MAC have in common.
func (p *player) make(r [4]uint32, a kms.Action, u kms.Usage, all *[]*made, do func(kms.Call, kms.Ref, []byte) ([]byte, error)) (string, error) {
	k, ref := p.aKeyFor(r[0], u)
	c, ns := p.someone(r[1], kms.RoleUser, ns(k))
	k = p.model.resolve(ns, ref)
	msg := plaintext(r[2])
	out, err := do(p.call(c, ns), ref, msg)
	what := fmt.Sprintf("%s in %s: %s with %s", c.name, ns, a, ref)
	code, named := p.model.admit(c, ns, k, a, protect)
	if code != 0 {
		return what, p.use(c, err, code, a, 0, p.on(named, k, 0))
	}
	if _, code = k.version(0, protect); code == 0 {
		code = p.spend(k, k.primary(), 1)
	}
	if code == 0 && k.usage != u {
		code = kms.CodeUsage
	}
	if err := p.use(c, err, code, a, audit.OK, p.on(true, k, k.primary())); err != nil || code != 0 {
		return what, err
	}
	*all = append(*all, &made{key: k, version: k.primary(), input: msg, output: out})
	return what, nil
}

func (p *player) verify(r [4]uint32) (string, error) {
	return p.check(r, kms.Verify, kms.CodeBadSignature, p.sigs, func(call kms.Call, ref kms.Ref, v uint32, msg, sig []byte) error {
		_, err := p.api().Verify(p.m.t.Context(), call, engine.VerifyInput{Key: ref, Version: v, Items: []engine.VerifyItem{{Message: msg, Signature: sig}}})
		return err
	})
}

func (p *player) verifyMAC(r [4]uint32) (string, error) {
	return p.check(r, kms.VerifyMAC, kms.CodeBadMAC, p.macs, func(call kms.Call, ref kms.Ref, v uint32, msg, mac []byte) error {
		_, err := p.api().VerifyMAC(p.m.t.Context(), call, engine.VerifyMACInput{Key: ref, Version: v, Items: []engine.VerifyMACItem{{Message: msg, MAC: mac}}})
		return err
	})
}

// check is what verifying signatures and MACs have in common.
func (p *player) check(r [4]uint32, a kms.Action, bad kms.Code, all []*made, do func(kms.Call, kms.Ref, uint32, []byte, []byte) error) (string, error) {
	x := pick(all, r[0])
	if x == nil {
		return "there is none", nil
	}
	k := x.key
	c, ns := p.someone(r[1], kms.RoleUser, k.ns)
	v := x.version
	if r[2]%8 == 0 {
		v = (r[2] >> 8) % (k.latest() + 2)
	}
	out := bytes.Clone(x.output)
	msg := bytes.Clone(x.input)
	if r[3]%4 == 0 {
		msg[0] ^= 1
	}
	err := do(p.call(c, ns), kms.RefTo(k.id), v, msg, out)
	what := fmt.Sprintf("%s in %s: %s of %s version %d with %d, altered %v", c.name, ns, a, k.name, x.version, v, r[3]%4 == 0)
	code, named := p.model.admit(c, ns, k, a, process)
	if code != 0 {
		return what, p.use(c, err, code, a, 0, p.on(named, k, 0))
	}
	v, code = k.version(v, process)
	switch {
	case code == kms.CodeVersionNotFound:
		v = 0
	case code == 0 && (v != x.version || r[3]%4 == 0):
		code = bad
	}
	return what, p.use(c, err, code, a, audit.OK, p.on(true, k, v))
}

func (p *player) turn(r [4]uint32) (string, error) {
	k, ref := p.aKey(r[0])
	c, ns := p.someone(r[1], kms.RoleAdmin, ns(k))
	k = p.model.resolve(ns, ref)
	call := p.call(c, ns)
	call.DryRun = r[3]%16 == 0
	turns := []struct {
		a  kms.Action
		do func(kms.Call) (engine.KeyOutput, error)
	}{
		{kms.EnableKey, func(c kms.Call) (engine.KeyOutput, error) {
			return p.api().EnableKey(p.m.t.Context(), c, engine.KeyInput{Key: ref})
		}},
		{kms.DisableKey, func(c kms.Call) (engine.KeyOutput, error) {
			return p.api().DisableKey(p.m.t.Context(), c, engine.KeyInput{Key: ref})
		}},
		{kms.SuspendKey, func(c kms.Call) (engine.KeyOutput, error) {
			return p.api().SuspendKey(p.m.t.Context(), c, engine.KeyInput{Key: ref})
		}},
		{kms.ResumeKey, func(c kms.Call) (engine.KeyOutput, error) {
			return p.api().ResumeKey(p.m.t.Context(), c, engine.KeyInput{Key: ref})
		}},
		{kms.CancelKeyDestruction, func(c kms.Call) (engine.KeyOutput, error) {
			return p.api().CancelKeyDestruction(p.m.t.Context(), c, engine.CancelInput{Key: ref})
		}},
	}
	do := pick(turns, r[2])
	if k != nil && k.position != kms.Enabled && r[2]%3 == 0 { // back into use
		do = turns[map[kms.Switch]int{kms.Disabled: 0, kms.SuspendedKey: 3, kms.PendingDestruction: 4}[k.position]]
	}
	clock := p.m.e.Clock()
	out, err := do.do(call)
	what := fmt.Sprintf("%s in %s: %s of %s, dry run %v", c.name, ns, do.a, ref, call.DryRun)
	code, named := p.model.admit(c, ns, k, do.a, read)
	if code != 0 {
		return what, p.use(c, err, code, do.a, 0, p.on(named, k, 0))
	}
	to, moved, code := k.turn(do.a)
	if do.a == kms.CancelKeyDestruction && moved && !clock.Suspended && !clock.Trusted.Before(k.destroyAt) {
		moved, code = false, kms.CodeWindow
	}
	keys, o := p.on(true, k, 0), audit.OK
	switch {
	case code != 0:
	case call.DryRun:
		o = audit.DryRun
	case moved:
		if keys += " change"; do.a == kms.CancelKeyDestruction {
			k.destroyAt, k.before = time.Time{}, 0
		}
		k.position = to
		k.resume()
	}
	if err := p.use(c, err, code, do.a, o, keys); err != nil || code != 0 || call.DryRun {
		return what, err
	}
	return what, p.same(k, &out.Key)
}

// assess looks at what the destruction of a key would reach, as has to be done before.
func (p *player) assess(c *caller, ns kms.Namespace, k *mKey, ref kms.Ref) error {
	_, err := p.m.e.AssessKey(p.m.t.Context(), p.call(c, ns), engine.AssessInput{Key: ref})
	code, named := p.model.admit(c, ns, k, kms.AssessKey, read)
	keys := p.on(named, k, 0)
	if code == 0 {
		keys += " change"
	}
	return p.use(c, err, code, kms.AssessKey, audit.OK, keys)
}

func (p *player) schedule(r [4]uint32) (string, error) {
	k, ref := p.aKey(r[0])
	c, ns := p.someone(r[1], kms.RoleAdmin, ns(k))
	k = p.model.resolve(ns, ref)
	call := p.call(c, ns)
	call.DryRun = r[3]%16 == 0
	if !call.DryRun {
		if err := p.assess(c, ns, k, ref); err != nil {
			return "assess", err
		}
	}
	window := time.Duration(r[2]%18+6) * day
	at := p.m.e.Now()
	out, err := p.api().ScheduleKeyDestruction(p.m.t.Context(), call, engine.DestroyInput{Key: ref, Window: window})
	what := fmt.Sprintf("%s in %s: destroy %s in %s, dry run %v", c.name, ns, ref, window, call.DryRun)
	code, named := p.model.admit(c, ns, k, kms.ScheduleKeyDestruction, read)
	if code != 0 {
		return what, p.use(c, err, code, kms.ScheduleKeyDestruction, 0, p.on(named, k, 0))
	}
	to, _, code := k.turn(kms.ScheduleKeyDestruction)
	if window < 7*day {
		code = kms.CodeWindow
	}
	keys, o := p.on(true, k, 0), audit.OK
	switch {
	case code != 0:
	case call.DryRun:
		o = audit.DryRun
	default:
		keys += " change"
		k.position, k.before, k.destroyAt = to, k.position, at.Add(window)
	}
	if err := p.use(c, err, code, kms.ScheduleKeyDestruction, o, keys); err != nil || code != 0 || call.DryRun {
		return what, err
	}
	return what, p.same(k, &out.Key)
}

func (p *player) deactivate(r [4]uint32) (string, error) {
	k, ref := p.aKey(r[0])
	c, ns := p.someone(r[1], kms.RoleAdmin, ns(k))
	k = p.model.resolve(ns, ref)
	in := engine.DeactivateInput{Key: ref, Version: 1}
	if k != nil {
		in.Version = r[2] % (k.latest() + 2)
	}
	_, err := p.api().DeactivateVersion(p.m.t.Context(), p.call(c, ns), in)
	what := fmt.Sprintf("%s in %s: deactivate %s version %d", c.name, ns, ref, in.Version)
	code, named := p.model.admit(c, ns, k, kms.DeactivateVersion, manage)
	if code != 0 {
		return what, p.use(c, err, code, kms.DeactivateVersion, 0, p.on(named, k, 0))
	}
	keys := p.on(true, k, in.Version)
	switch n := in.Version; {
	case n == 0 || n > k.latest():
		code = kms.CodeVersionNotFound
	case k.versions[n-1] == kms.Deactivated:
	case n == k.primary():
		code = kms.CodeVersionState
	case k.versions[n-1] == kms.Active || k.versions[n-1] == kms.Suspended:
		k.enter(n, kms.Deactivated)
		k.dates[n-1].deactivate = time.Time{}
		keys += " change"
	default:
		code = kms.CodeVersionState
	}
	return what, p.use(c, err, code, kms.DeactivateVersion, audit.OK, keys)
}

func (p *player) update(r [4]uint32) (string, error) {
	k, ref := p.aKey(r[0])
	c, ns := p.someone(r[1], kms.RoleAdmin, ns(k))
	k = p.model.resolve(ns, ref)
	call := p.call(c, ns)
	call.DryRun = r[3]%16 == 0
	in := engine.UpdateKeyInput{Key: ref}
	var next mKey
	if k != nil {
		next = *k
		next.aliases, next.labels = slices.Clone(k.aliases), maps.Clone(k.labels)
	}
	p.serial++
	var clash kms.Code
	switch r[2] % 5 {
	case 0:
		name := fmt.Sprintf("%sk%d", p.prefix, p.serial)
		if r[3]%4 == 1 {
			name = pick(p.model.keys, r[3]>>8).nameOr(name)
		}
		in.Name = &name
		if name != next.name && p.model.named(ns, name) != nil {
			clash = kms.CodeExists
		}
		next.name = name
	case 1:
		about := fmt.Sprintf("about %d", r[3]%3)
		in.Description, next.about = &about, about
	case 2:
		l := fmt.Sprintf("l%d", r[3]%3)
		in.SetLabels = map[string]string{l: "x"}
		if next.labels != nil {
			next.labels[l] = "x"
		}
	case 3:
		alias := fmt.Sprintf("%sa%d", p.prefix, r[3]%6)
		in.AddAliases = []string{alias}
		if !slices.Contains(next.aliases, alias) {
			if p.model.named(ns, alias) != nil {
				clash = kms.CodeExists
			}
			next.aliases = append(next.aliases, alias)
		}
	case 4:
		alias := fmt.Sprintf("%sa%d", p.prefix, r[3]%6)
		in.RemoveAliases = []string{alias}
		if i := slices.Index(next.aliases, alias); i >= 0 {
			next.aliases = slices.Delete(next.aliases, i, i+1)
		} else {
			clash = kms.CodeNotFound
		}
	}
	out, err := p.api().UpdateKey(p.m.t.Context(), call, in)
	what := fmt.Sprintf("%s in %s: update %s (%d), dry run %v", c.name, ns, ref, r[2]%5, call.DryRun)
	code, named := p.model.admit(c, ns, k, kms.UpdateKey, manage)
	if code != 0 {
		return what, p.use(c, err, code, kms.UpdateKey, 0, p.on(named, k, 0))
	}
	keys, o := p.on(true, k, 0), audit.OK
	switch {
	case clash != 0:
	case call.DryRun:
		o = audit.DryRun
	case next.String() != k.String():
		keys += " change"
	}
	if err := p.use(c, err, clash, kms.UpdateKey, o, keys); err != nil || clash != 0 || call.DryRun {
		return what, err
	}
	*k = next
	return what, p.same(k, &out.Key)
}

func (k *mKey) nameOr(other string) string {
	if k == nil {
		return other
	}
	return k.name
}

func (p *player) publicKey(r [4]uint32) (string, error) {
	k, ref := p.aKey(r[0])
	c, ns := p.someone(r[1], kms.RoleUser, ns(k))
	k = p.model.resolve(ns, ref)
	out, err := p.api().GetPublicKey(p.m.t.Context(), p.call(c, ns), engine.PublicKeyInput{Key: ref})
	what := fmt.Sprintf("%s in %s: public key of %s", c.name, ns, ref)
	code, named := p.model.admit(c, ns, k, kms.GetPublicKey, process)
	if code != 0 {
		return what, p.use(c, err, code, kms.GetPublicKey, 0, p.on(named, k, 0))
	}
	if !k.algorithm.Facts().Asymmetric {
		return what, p.use(c, err, kms.CodeAlgorithm, kms.GetPublicKey, 0, p.on(true, k, 0))
	}
	if err == nil && (out.Version != k.primary() || len(out.DER) == 0) {
		return what, fmt.Errorf("got version %d, %d bytes", out.Version, len(out.DER))
	}
	return what, p.use(c, err, 0, kms.GetPublicKey, audit.OK, p.on(true, k, k.primary()))
}

func (p *player) describe(r [4]uint32) (string, error) {
	k, ref := p.aKey(r[0])
	c, ns := p.someone(r[1], kms.RoleUser, ns(k))
	k = p.model.resolve(ns, ref)
	return fmt.Sprintf("%s in %s: describe %s", c.name, ns, ref), p.look(c, ns, k, ref)
}

func (p *player) look(c *caller, ns kms.Namespace, k *mKey, ref kms.Ref) error {
	out, err := p.api().DescribeKey(p.m.t.Context(), p.call(c, ns), engine.KeyInput{Key: ref})
	code, named := p.model.admit(c, ns, k, kms.DescribeKey, read)
	if err := p.use(c, err, code, kms.DescribeKey, audit.OK, p.on(named, found(k, ns), 0)); err != nil || code != 0 {
		return err
	}
	for _, v := range out.Versions {
		if want := k.versions[v.Number-1]; v.State != want || v.Algorithm != k.algorithm || v.History[len(v.History)-1].To != want {
			return fmt.Errorf("version %d of %s: got %s want %s", v.Number, k.name, v.State, want)
		}
	}
	if want := min(len(k.versions), 20); len(out.Versions) != want {
		return fmt.Errorf("got %d versions want %d", len(out.Versions), want)
	}
	return p.same(k, &out.Key)
}

// same compares a key with the model's.
func (p *player) same(k *mKey, got *kms.Key) error {
	seen := mKey{ns: got.Namespace, name: got.Name, algorithm: got.Algorithm, position: got.Switch, aliases: got.Aliases, labels: got.Labels, about: got.Description,
		versions: k.versions, destroyAt: got.DestroyAt}
	want := *k
	want.destroyAt = want.destroyAt.UTC()
	if want.destroyAt.IsZero() {
		want.destroyAt = time.Time{}
	}
	if seen.String() != want.String() || got.ID != k.id || got.Primary != k.primary() || got.Latest != k.latest() || got.Usage != k.usage {
		return fmt.Errorf("got %s, primary %d, latest %d\nwant %s, primary %d", &seen, got.Primary, got.Latest, &want, k.primary())
	}
	return nil
}
