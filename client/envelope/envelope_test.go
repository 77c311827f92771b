package envelope_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/client/envelope"
)

// vault is a server of one key, in memory: it knows what it wrapped, and for which context. The real one is used by the tests in

type vault struct {
	mu      sync.Mutex
	version uint32
	dead    map[uint32]bool
	keys    map[string]wrapped // by blob
	calls   []client.Context   // of every request, in order
	err     error
}

type wrapped struct {
	key     []byte
	version uint32
	context client.Context
}

const keyID = "5b0c2c4e-6d43-4b7a-9d6f-0e6f7a1b2c3d"

func newVault() *vault {
	return &vault{version: 1, dead: map[uint32]bool{}, keys: map[string]wrapped{}}
}

func (v *vault) GenerateDataKey(_ context.Context, in client.GenerateDataKeyInput, _ ...client.Option) (client.GenerateDataKeyOutput, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.calls = append(v.calls, in.Context)
	if v.err != nil {
		return client.GenerateDataKeyOutput{}, v.err
	}
	if in.Key != "orders" && in.Key != keyID {
		return client.GenerateDataKeyOutput{}, &client.Error{Code: client.CodeKeyNotFound, Title: "key not found", What: "there is no key " + in.Key}
	}
	key, blob := make([]byte, in.Length), make([]byte, 138)
	rand.Read(key)
	rand.Read(blob)
	v.keys[string(blob)] = wrapped{bytes.Clone(key), v.version, maps.Clone(in.Context)}
	return client.GenerateDataKeyOutput{Plaintext: key, Ciphertext: blob, KeyID: keyID, Version: v.version}, nil
}

func (v *vault) Decrypt(_ context.Context, in client.DecryptInput, _ ...client.Option) (client.DecryptOutput, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.calls = append(v.calls, in.Context)
	if v.err != nil {
		return client.DecryptOutput{}, v.err
	}
	w, ok := v.keys[string(in.Ciphertext)]
	if !ok || !maps.Equal(w.context, in.Context) {
		return client.DecryptOutput{}, &client.Error{Code: client.CodeDecryptFailed, Title: "decryption failed", What: "not with this key and context"}
	}
	if v.dead[w.version] {
		return client.DecryptOutput{}, &client.Error{Code: "KH1502", Title: "wrong state", What: "the version is deactivated"}
	}
	return client.DecryptOutput{Plaintext: bytes.Clone(w.key), KeyID: keyID, Version: w.version}, nil
}

func text(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*131 + i>>8)
	}
	return b
}

func seal(t testing.TB, plaintext []byte, opt envelope.Options) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := envelope.Encrypt(t.Context(), &b, bytes.NewReader(plaintext), opt); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// unseal gives what was released, whatever came after it.
func unseal(t testing.TB, file []byte, opt envelope.OpenOptions) ([]byte, error) {
	t.Helper()
	var b bytes.Buffer
	_, err := envelope.Decrypt(t.Context(), &b, bytes.NewReader(file), opt)
	return b.Bytes(), err
}

func with(ids ...envelope.Identity) envelope.OpenOptions {
	return envelope.OpenOptions{Identities: ids}
}

func TestAFileOpensForEachRecipient(t *testing.T) {
	v := newVault()
	private, err := envelope.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	words := envelope.Passphrase("correct horse battery staple")
	key := envelope.KeyholdKey{Client: v, Key: "orders"}
	all := envelope.Options{Recipients: []envelope.Recipient{key, words, private.Public()}, Context: client.Context{"order": "17"}}
	for _, n := range []int{0, 1, 65503, 65504, 65505, 300_000} {
		plaintext := text(n)
		file := seal(t, plaintext, all)
		for name, id := range map[string]envelope.Identity{"key": envelope.KeyholdKey{Client: v}, "passphrase": words, "private key": private} {
			got, err := unseal(t, file, with(id))
			if err != nil || !bytes.Equal(got, plaintext) {
				t.Errorf("%d bytes, %s: got %d bytes, %v", n, name, len(got), err)
			}
		}
		info, err := envelope.Inspect(bytes.NewReader(file))
		if err != nil || len(info.Recipients) != 3 || info.Context["order"] != "17" {
			t.Errorf("info: got %+v %v", info, err)
		}
		if size, ok := info.PlaintextSize(int64(len(file))); !ok || size != int64(n) {
			t.Errorf("the size of the plaintext: got %d %v, want %d", size, ok, n)
		}
	}
}

// refusals are the errors of a file that is not what was encrypted.
func refused(err error) bool {
	return errors.Is(err, envelope.ErrCorrupt) || errors.Is(err, envelope.ErrFormat) || errors.Is(err, envelope.ErrNoIdentity)
}

// headerSize is where the stream of a file begins.
func headerSize(t testing.TB, file []byte) int {
	t.Helper()
	info, err := envelope.Inspect(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	return int(info.HeaderSize)
}

func TestEveryFlippedBitOfAHeaderIsRefused(t *testing.T) {
	v := newVault()
	private, err := envelope.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	other, err := envelope.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	file := seal(t, []byte("plaintext"), envelope.Options{
		Recipients: []envelope.Recipient{envelope.KeyholdKey{Client: v, Key: "orders"}, private.Public(), other.Public()}, Context: client.Context{"order": "17", "shop": "3"},
	})
	opt := with(envelope.KeyholdKey{Client: v}, private)
	end := headerSize(t, file) + 74 // the head of the stream included
	for i := range end {
		bits := []int{i % 8}
		if i < 200 {
			bits = []int{0, 1, 2, 3, 4, 5, 6, 7}
		}
		for _, bit := range bits {
			bad := bytes.Clone(file)
			bad[i] ^= 1 << bit
			got, err := unseal(t, bad, opt)
			if !refused(err) || len(got) > 0 {
				t.Fatalf("bit %d of byte %d: got %q, %v", bit, i, got, err)
			}
			if _, err := envelope.NewReaderAt(t.Context(), bytes.NewReader(bad), int64(len(bad)), opt); !refused(err) {
				t.Fatalf("bit %d of byte %d, at any place: %v", bit, i, err)
			}
		}
	}
	for i := range end {
		if got, err := unseal(t, file[:i], opt); !refused(err) || len(got) > 0 {
			t.Fatalf("cut after %d bytes: got %q, %v", i, got, err)
		}
	}
}

func TestEveryRegionOfASegmentIsAuthenticated(t *testing.T) {
	v := newVault()
	const segment, room = envelope.MinSegmentSize, envelope.MinSegmentSize - 32
	plaintext := text(3*room + 100)
	key := envelope.KeyholdKey{Client: v, Key: "orders"}
	file := seal(t, plaintext, envelope.Options{Recipients: []envelope.Recipient{key}, SegmentSize: segment})
	body := headerSize(t, file) + 74
	for n := range 4 {
		at := body + n*segment
		size := min(segment, len(file)-at)
		for _, i := range []int{0, 3, 4, 15, 16, size / 2, size - 17, size - 16, size - 1} { // length, nonce, ciphertext, tag
			bad := bytes.Clone(file)
			bad[at+i] ^= 0x10
			got, err := unseal(t, bad, with(key))
			if !errors.Is(err, envelope.ErrCorrupt) || !bytes.Equal(got, plaintext[:n*room]) {
				t.Errorf("byte %d of segment %d: got %d bytes, %v; want the %d before it", i, n, len(got), err, n*room)
			}
		}
		for _, i := range []int{0, 1, 16, size - 1} {
			if got, err := unseal(t, file[:at+i], with(key)); !errors.Is(err, envelope.ErrCorrupt) || !bytes.Equal(got, plaintext[:n*room]) {
				t.Errorf("cut %d bytes into segment %d: got %d bytes, %v", i, n, len(got), err)
			}
		}
	}
	if got, err := unseal(t, append(bytes.Clone(file), 0), with(key)); !errors.Is(err, envelope.ErrCorrupt) || len(got) != 3*room {
		t.Errorf("a byte more: got %d bytes, %v", len(got), err)
	}
	swapped := slices.Concat(file[:body], file[body+segment:body+2*segment], file[body:body+segment], file[body+2*segment:])
	if got, err := unseal(t, swapped, with(key)); !errors.Is(err, envelope.ErrCorrupt) || len(got) > 0 {
		t.Errorf("segments swapped: got %d bytes, %v", len(got), err)
	}
}

func TestAHeaderBelongsToItsData(t *testing.T) {
	v := newVault()
	cache, err := envelope.NewCache(v, envelope.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cache.Close)
	for name, key := range map[string]envelope.KeyholdKey{"a data key each": {Client: v, Key: "orders"}, "a shared data key": {Cache: cache, Key: "orders"}} {
		opt := envelope.Options{Recipients: []envelope.Recipient{key}, Context: client.Context{"a": "b"}}
		one, two := seal(t, []byte("one"), opt), seal(t, []byte("two"), opt)
		n := headerSize(t, one)
		if headerSize(t, two) != n {
			t.Fatal("the headers differ in length")
		}
		for what, bad := range map[string][]byte{
			"the header of another file": slices.Concat(two[:n], one[n:]), "the stream's head too": slices.Concat(two[:n+74], one[n+74:]),
			"the stream's head of another file": slices.Concat(one[:n], two[n:n+74], one[n+74:]),
		} {
			if got, err := unseal(t, bad, with(key)); !errors.Is(err, envelope.ErrCorrupt) || len(got) > 0 {
				t.Errorf("%s, %s: got %q, %v", name, what, got, err)
			}
		}
	}
}

func TestTheServerIsToldTheContextAndTheFile(t *testing.T) {
	v := newVault()
	key := envelope.KeyholdKey{Client: v, Key: "orders"}
	opt := envelope.Options{Recipients: []envelope.Recipient{key}, Context: client.Context{"order": "17"}}
	file, other := seal(t, nil, opt), seal(t, nil, opt)
	if _, err := unseal(t, file, with(key)); err != nil {
		t.Fatal(err)
	}
	_ = other
	if len(v.calls) != 3 || v.calls[0]["order"] != "17" || len(v.calls[0]) != 2 || len(v.calls[0]["keyhold:file"]) != 64 {
		t.Fatalf("the server was told %v", v.calls)
	}
	if v.calls[0]["keyhold:file"] == v.calls[1]["keyhold:file"] || !maps.Equal(v.calls[0], v.calls[2]) {
		t.Errorf("the binding is not that of the file: %v", v.calls)
	}
	for _, c := range []struct {
		want client.Context
		ok   bool
	}{{nil, true}, {client.Context{"order": "17"}, true}, {client.Context{"order": "18"}, false}, {client.Context{"shop": "1"}, false}} {
		before := len(v.calls)
		_, err := unseal(t, file, envelope.OpenOptions{Identities: []envelope.Identity{key}, Context: c.want})
		if c.ok && err != nil || !c.ok && (!errors.Is(err, envelope.ErrContext) || len(v.calls) != before) {
			t.Errorf("context %v: got %v", c.want, err)
		}
	}
}

func TestTheWrongKeyIsNamedAtOnce(t *testing.T) {
	v := newVault()
	private, err := envelope.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := envelope.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	file := seal(t, text(100), envelope.Options{Recipients: []envelope.Recipient{private.Public(), envelope.Passphrase("correct horse battery staple")}})
	_, err = unseal(t, file, with(stranger, envelope.KeyholdKey{Client: v}))
	if !errors.Is(err, envelope.ErrNoIdentity) || !bytes.Contains([]byte(err.Error()), []byte(private.Public().Fingerprint())) {
		t.Errorf("got %v, want the fingerprint of whom it was encrypted for", err)
	}
	if _, err := unseal(t, file, with(envelope.Passphrase("correct horse battery stable"))); !errors.Is(err, envelope.ErrPassphrase) {
		t.Errorf("a wrong passphrase: got %v", err)
	}
	file = seal(t, text(100), envelope.Options{Recipients: []envelope.Recipient{envelope.KeyholdKey{Client: v, Key: "orders"}, private.Public()}})
	denied := &client.Error{Code: client.CodeDenied, Title: "denied", What: "no"}
	v.err = denied
	var e *client.Error
	if _, err := unseal(t, file, with(envelope.KeyholdKey{Client: v})); !errors.As(err, &e) || e != denied || !bytes.Contains([]byte(err.Error()), []byte(keyID)) {
		t.Errorf("the server refuses: got %v, want its refusal and the key's id", err)
	}
	if got, err := unseal(t, file, with(envelope.KeyholdKey{Client: v}, private)); err != nil || len(got) != 100 {
		t.Errorf("another recipient helps when the server refuses: got %v", err)
	}
	v.err = nil
	if _, err := unseal(t, file, with(envelope.KeyholdKey{Client: newVault()})); !errors.Is(err, envelope.ErrCorrupt) || !errors.As(err, &e) {
		t.Errorf("a ciphertext that the server cannot open: got %v", err)
	}
}

func TestRewrapLeavesTheDataAlone(t *testing.T) {
	v := newVault()
	private, err := envelope.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	key := envelope.KeyholdKey{Client: v, Key: "orders"}
	plaintext := text(200_000)
	file := seal(t, plaintext, envelope.Options{Recipients: []envelope.Recipient{key, private.Public()}, Context: client.Context{"a": "b"}})
	v.version = 2
	rewrap := func(opt envelope.RewrapOptions) ([]byte, envelope.Info, envelope.Info, error) {
		var b bytes.Buffer
		before, after, err := envelope.Rewrap(t.Context(), &b, bytes.NewReader(file), opt)
		return b.Bytes(), before, after, err
	}
	moved, before, after, err := rewrap(envelope.RewrapOptions{Open: with(key)})
	if err != nil {
		t.Fatal(err)
	}
	if before.Recipients[0].Version != 1 || after.Recipients[0].Version != 2 || after.Recipients[0].Key != "orders" || before.Recipients[1] != after.Recipients[1] {
		t.Errorf("got %v, then %v", before.Recipients, after.Recipients)
	}
	if !bytes.Equal(moved[headerSize(t, moved):], file[headerSize(t, file):]) {
		t.Error("the data were touched")
	}
	v.dead[1] = true
	for what, ids := range map[string]envelope.Identity{"the key": key, "the other recipient": private} {
		if got, err := unseal(t, moved, with(ids)); err != nil || !bytes.Equal(got, plaintext) {
			t.Errorf("%s after the old version ended: %d bytes, %v", what, len(got), err)
		}
	}
	if _, err := unseal(t, file, with(key)); err == nil {
		t.Error("the old file needs the old version, and opens without it")
	}

	only := func(k envelope.Kind) func(envelope.RecipientInfo) bool {
		return func(r envelope.RecipientInfo) bool { return r.Kind == k }
	}
	local, _, after, err := rewrap(envelope.RewrapOptions{Open: with(private), Keep: only(envelope.KindPublicKey), Add: []envelope.Recipient{envelope.Passphrase("correct horse battery staple")}})
	if err != nil || len(after.Recipients) != 2 {
		t.Fatalf("got %v %v", after, err)
	}
	if _, err := unseal(t, local, with(key)); !errors.Is(err, envelope.ErrNoIdentity) {
		t.Errorf("a recipient that was taken away: %v", err)
	}
	if _, _, _, err := rewrap(envelope.RewrapOptions{Open: with(private)}); !errors.Is(err, envelope.ErrOptions) {
		t.Errorf("a Keyhold key stays, and there is no client: got %v", err)
	}
	if _, _, _, err := rewrap(envelope.RewrapOptions{Open: with(private), Keep: only(envelope.KindPassphrase)}); !errors.Is(err, envelope.ErrOptions) {
		t.Errorf("nobody is left: got %v", err)
	}
	stranger, err := envelope.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	out, _, _, err := rewrap(envelope.RewrapOptions{Open: with(stranger)})
	if !errors.Is(err, envelope.ErrNoIdentity) || len(out) > 0 {
		t.Errorf("who cannot open a file changes it: %v", err)
	}
	for i := range headerSize(t, file) + 74 {
		bad := bytes.Clone(file)
		bad[i] ^= 1
		var b bytes.Buffer
		if _, _, err := envelope.Rewrap(t.Context(), &b, bytes.NewReader(bad), envelope.RewrapOptions{Open: with(private), Keep: only(envelope.KindPublicKey)}); !refused(err) || b.Len() > 0 {
			t.Fatalf("byte %d was changed: got %v and %d bytes", i, err, b.Len())
		}
	}
}

func TestAnyPartOfAFileCanBeRead(t *testing.T) {
	v := newVault()
	key := envelope.KeyholdKey{Client: v, Key: "orders"}
	plaintext := text(100_000)
	file := seal(t, plaintext, envelope.Options{Recipients: []envelope.Recipient{key}, SegmentSize: 8192})
	r, err := envelope.NewReaderAt(t.Context(), bytes.NewReader(file), int64(len(file)), with(key))
	if err != nil {
		t.Fatal(err)
	}
	if err := iotest.TestReader(io.NewSectionReader(r, 0, r.Size()), plaintext); err != nil {
		t.Error(err)
	}
	if r.Info().SegmentSize != 8192 {
		t.Errorf("got %+v", r.Info())
	}
	for _, n := range []int64{int64(len(file)) - 1, int64(len(file)) - 9000, 300, 5} {
		if _, err := envelope.NewReaderAt(t.Context(), bytes.NewReader(file), n, with(key)); !refused(err) {
			t.Errorf("cut to %d bytes: got %v", n, err)
		}
	}
	bad := bytes.Clone(file)
	bad[len(bad)/2] ^= 1
	r, err = envelope.NewReaderAt(t.Context(), bytes.NewReader(bad), int64(len(bad)), with(key))
	if err != nil {
		t.Fatalf("the header and the end are whole: %v", err)
	}
	p := make([]byte, 100_000)
	if n, err := r.ReadAt(p, 0); !errors.Is(err, envelope.ErrCorrupt) || n >= 50_000 || !bytes.Equal(p[:n], plaintext[:n]) {
		t.Errorf("got %d bytes, %v", n, err)
	}
	if n, err := r.ReadAt(p[:100], 90_000); n != 100 || err != nil || !bytes.Equal(p[:100], plaintext[90_000:90_100]) {
		t.Errorf("a part that is whole: got %d bytes, %v", n, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestWrongOptionsAreRefusedBeforeAServerIsAsked(t *testing.T) {
	v := newVault()
	key := envelope.KeyholdKey{Client: v, Key: "orders"}
	big := client.Context{}
	for i := range envelope.MaxContextItems + 1 {
		big[fmt.Sprint(i)] = "x"
	}
	words := envelope.Passphrase("correct horse battery staple")
	cache, err := envelope.NewCache(v, envelope.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for what, opt := range map[string]envelope.Options{
		"no recipient":        {},
		"too many":            {Recipients: slices.Repeat([]envelope.Recipient{key}, envelope.MaxRecipients+1)},
		"nil":                 {Recipients: []envelope.Recipient{nil}},
		"no client":           {Recipients: []envelope.Recipient{envelope.KeyholdKey{Key: "orders"}}},
		"client and cache":    {Recipients: []envelope.Recipient{envelope.KeyholdKey{Key: "orders", Client: v, Cache: cache}}},
		"no key":              {Recipients: []envelope.Recipient{envelope.KeyholdKey{Client: v}}},
		"short passphrase":    {Recipients: []envelope.Recipient{envelope.Passphrase("short")}},
		"long passphrase":     {Recipients: []envelope.Recipient{envelope.Passphrase(make([]byte, envelope.MaxPassphrase+1))}},
		"two passphrases":     {Recipients: []envelope.Recipient{words, words}},
		"small segment":       {Recipients: []envelope.Recipient{key}, SegmentSize: envelope.MinSegmentSize - 1},
		"large segment":       {Recipients: []envelope.Recipient{key}, SegmentSize: envelope.MaxSegmentSize + 1},
		"context with a gap":  {Recipients: []envelope.Recipient{key}, Context: client.Context{"": "x"}},
		"context of our own":  {Recipients: []envelope.Recipient{key}, Context: client.Context{"keyhold:file": "x"}},
		"context of many":     {Recipients: []envelope.Recipient{key}, Context: big},
		"context of megabyte": {Recipients: []envelope.Recipient{key}, Context: client.Context{"x": string(make([]byte, envelope.MaxContextBytes))}},
	} {
		var b bytes.Buffer
		if _, err := envelope.Encrypt(t.Context(), &b, bytes.NewReader(nil), opt); !errors.Is(err, envelope.ErrOptions) || b.Len() > 0 {
			t.Errorf("%s: got %v and %d bytes", what, err, b.Len())
		}
	}
	if len(v.calls) > 0 {
		t.Errorf("the server was asked %d times", len(v.calls))
	}
	if _, err := unseal(t, seal(t, nil, envelope.Options{Recipients: []envelope.Recipient{key}}), envelope.OpenOptions{}); !errors.Is(err, envelope.ErrOptions) {
		t.Errorf("no identity: got %v", err)
	}
	// All the limits at once are still a file.
	big = client.Context{}
	for i := range envelope.MaxContextItems {
		big[fmt.Sprintf("%02d", i)] = string(make([]byte, envelope.MaxContextBytes/envelope.MaxContextItems-2))
	}
	private, err := envelope.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	file := seal(t, []byte("x"), envelope.Options{Recipients: slices.Repeat([]envelope.Recipient{private.Public()}, envelope.MaxRecipients), Context: big, SegmentSize: envelope.MaxSegmentSize})
	if got, err := unseal(t, file, with(private)); err != nil || string(got) != "x" {
		t.Errorf("the largest header: got %q %v", got, err)
	}
}

func TestNothingPrintsASecret(t *testing.T) {
	private, err := envelope.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	text, err := private.Export()
	if err != nil {
		t.Fatal(err)
	}
	const planted = "PLANTED PASSPHRASE"
	for _, v := range []any{envelope.Passphrase(planted), private, struct{ P envelope.Passphrase }{envelope.Passphrase(planted)}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
			got := fmt.Sprintf(verb, v)
			if strings.Contains(got, "PLANTED") || strings.Contains(got, "504c414e") || strings.Contains(got, "80 76 65") || strings.Contains(text, got) {
				t.Errorf("%s of %T shows it: %s", verb, v, got)
			}
		}
		if b, err := json.Marshal(v); err == nil && bytes.Contains(b, []byte("UExBTlRFR")) {
			t.Errorf("JSON of %T shows it: %s", v, b)
		}
	}
}

func TestKeysAsText(t *testing.T) {
	private, err := envelope.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	secret, err := private.Export()
	if err != nil {
		t.Fatal(err)
	}
	again, err := envelope.ParsePrivateKey(" " + secret + "\n")
	if err != nil || again.Public().String() != private.Public().String() {
		t.Errorf("the private key: %v", err)
	}
	public, err := envelope.ParsePublicKey(private.Public().String() + "\n")
	if err != nil || public.Fingerprint() != private.Public().Fingerprint() {
		t.Errorf("the public key: %v", err)
	}
	for i := range secret {
		bad := []byte(secret)
		bad[i] ^= 1
		if _, err := envelope.ParsePrivateKey(string(bad)); !errors.Is(err, envelope.ErrOptions) {
			t.Errorf("character %d is wrong: got %v", i, err)
		}
	}
	for _, bad := range []string{"", "x", secret, private.Public().String()[:100], private.Public().String() + "A", strings.Repeat("A", 1<<20)} {
		if _, err := envelope.ParsePublicKey(bad); !errors.Is(err, envelope.ErrOptions) {
			t.Errorf("%.40q: got %v", bad, err)
		}
	}
}

func TestCancellingStopsTheWork(t *testing.T) {
	v := newVault()
	key := envelope.KeyholdKey{Client: v, Key: "orders"}
	file := seal(t, text(1<<20), envelope.Options{Recipients: []envelope.Recipient{key}})
	for what, do := range map[string]func(context.Context, io.Reader) error{
		"encrypt": func(ctx context.Context, src io.Reader) error {
			_, err := envelope.Encrypt(ctx, io.Discard, src, envelope.Options{Recipients: []envelope.Recipient{key}})
			return err
		},
		"decrypt": func(ctx context.Context, src io.Reader) error {
			_, err := envelope.Decrypt(ctx, io.Discard, src, with(key))
			return err
		},
		"rewrap": func(ctx context.Context, src io.Reader) error {
			_, _, err := envelope.Rewrap(ctx, io.Discard, src, envelope.RewrapOptions{Open: with(key)})
			return err
		},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		src, reads := bytes.NewReader(file), 0
		err := do(ctx, readerFunc(func(p []byte) (int, error) {
			if reads++; reads == 3 { // after the header
				cancel()
			}
			return src.Read(p)
		}))
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v", what, err)
		}
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
