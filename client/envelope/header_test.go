package envelope

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/client/envelope/internal/floe"
)

// forge makes a file of any header: what its author could do, and nobody else.
func forge(t testing.TB, h *header, fileKey []byte, plaintext string, segment int) []byte {
	t.Helper()
	encoded := h.encode()
	code, err := codeOf(fileKey, encoded)
	if err != nil {
		t.Fatal(err)
	}
	b := bytes.NewBuffer(append(encoded, code[:]...))
	key, err := contentKey(fileKey)
	if err != nil {
		t.Fatal(err)
	}
	w, err := floe.NewWriter(b, key, h.binding(), segment)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(plaintext)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func keyPair(t testing.TB) *PrivateKey {
	t.Helper()
	k, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func plain(t testing.TB, file []byte, id Identity) (string, error) {
	t.Helper()
	var b bytes.Buffer
	_, err := Decrypt(t.Context(), &b, bytes.NewReader(file), OpenOptions{Identities: []Identity{id}})
	return b.String(), err
}

func wrapFor(t testing.TB, h *header, k *PrivateKey, fileKey []byte) {
	t.Helper()
	s, _, err := k.Public().wrap(t.Context(), h.file(), fileKey)
	if err != nil {
		t.Fatal(err)
	}
	h.recipients = append(h.recipients, s)
}

// An author who wants two recipients to see two different plaintexts gives each another file key. The code under the file key
// commits to one.
func TestTwoRecipientsSeeTheSameFile(t *testing.T) {
	alice, bob := keyPair(t), keyPair(t)
	one, two := bytes.Repeat([]byte{1}, fileKeySize), bytes.Repeat([]byte{2}, fileKeySize)
	h := &header{segment: MinSegmentSize, context: client.Context{}}
	wrapFor(t, h, alice, one)
	wrapFor(t, h, bob, two)
	for _, fileKey := range [][]byte{one, two} {
		file := forge(t, h, fileKey, "x", MinSegmentSize)
		for who, try := range map[string]struct {
			id  *PrivateKey
			key []byte
		}{"alice": {alice, one}, "bob": {bob, two}} {
			got, err := plain(t, file, try.id)
			if own := bytes.Equal(try.key, fileKey); own && (err != nil || got != "x") || !own && (!errors.Is(err, ErrCorrupt) || got != "") {
				t.Errorf("%s: got %q, %v", who, got, err)
			}
		}
	}
}

func TestAWrappedKeyCannotBeMoved(t *testing.T) {
	alice := keyPair(t)
	fileKey := bytes.Repeat([]byte{1}, fileKeySize)
	from := &header{segment: MinSegmentSize, context: client.Context{"a": "1"}}
	wrapFor(t, from, alice, fileKey)
	for what, to := range map[string]*header{
		"another id":      {id: [fileIDSize]byte{1}, segment: MinSegmentSize, context: client.Context{"a": "1"}},
		"another segment": {segment: MinSegmentSize + 1, context: client.Context{"a": "1"}},
		"another context": {segment: MinSegmentSize, context: client.Context{"a": "2"}},
	} {
		to.recipients = from.recipients
		if got, err := plain(t, forge(t, to, fileKey, "x", to.segment), alice); !errors.Is(err, ErrCorrupt) || got != "" {
			t.Errorf("%s: got %q, %v", what, got, err)
		}
	}
	from.segment++ // a stream of other segments than the header says
	from.recipients = nil
	wrapFor(t, from, alice, fileKey)
	file := forge(t, from, fileKey, "x", MinSegmentSize)
	if got, err := plain(t, file, alice); !errors.Is(err, ErrCorrupt) || got != "" {
		t.Errorf("another segment size in the stream: got %q, %v", got, err)
	}
	if _, err := NewReaderAt(t.Context(), bytes.NewReader(file), int64(len(file)), OpenOptions{Identities: []Identity{alice}}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("at any place: %v", err)
	}
	if _, _, err := Rewrap(t.Context(), &bytes.Buffer{}, bytes.NewReader(file), RewrapOptions{Open: OpenOptions{Identities: []Identity{alice}}}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("rewrapped: %v", err)
	}
}

// One header has one encoding, and everything is bounded, even when its author makes the code fit.
func TestOtherFormsAreRefused(t *testing.T) {
	alice := keyPair(t)
	fileKey := bytes.Repeat([]byte{1}, fileKeySize)
	good := &header{segment: MinSegmentSize, context: client.Context{"a": "1", "b": "2"}}
	wrapFor(t, good, alice, fileKey)
	fixed := good.fixed()
	entries := func(count byte, pairs ...string) []byte {
		b := append(bytes.Clone(fixed[:1+fileIDSize+4]), count)
		for _, p := range pairs {
			b = appendBytes(b, []byte(p))
		}
		return b
	}
	one := appendBytes([]byte{byte(KindPublicKey)}, good.recipients[0].body)
	words := func(change func(*passphraseBody)) []byte {
		b := passphraseBody{kdf: kdfArgon2id, rounds: 3, memory: 64 << 10, lanes: 4, salt: make([]byte, saltSize)}
		change(&b)
		return append([]byte{1}, appendBytes([]byte{byte(KindPassphrase)}, append(b.encode(), make([]byte, boxSize)...))...)
	}
	key := func(change func(*keyholdBody)) []byte {
		b := keyholdBody{version: 1, id: "id", name: "name", blob: []byte("blob")}
		change(&b)
		return append([]byte{1}, appendBytes([]byte{byte(KindKeyhold)}, append(b.encode(), make([]byte, boxSize)...))...)
	}
	for what, body := range map[string][]byte{
		"names out of order":     append(append(entries(2, "b", "2", "a", "1"), 1), one...),
		"a name twice":           append(append(entries(2, "a", "1", "a", "2"), 1), one...),
		"a name that is empty":   append(append(entries(1, "", "1"), 1), one...),
		"the server's own name":  append(append(entries(1, bindingName, "1"), 1), one...),
		"fewer entries":          append(append(entries(1, "a", "1", "b", "2"), 1), one...),
		"more entries":           append(append(entries(3, "a", "1", "b", "2"), 1), one...),
		"a context too large":    append(append(entries(1, "a", strings.Repeat("x", MaxContextBytes)), 1), one...),
		"no recipients":          append(bytes.Clone(fixed), 0),
		"too many recipients":    append(append(bytes.Clone(fixed), MaxRecipients+1), bytes.Repeat(one, MaxRecipients+1)...),
		"fewer recipients":       append(append(bytes.Clone(fixed), 1), bytes.Repeat(one, 2)...),
		"more recipients":        append(append(bytes.Clone(fixed), 2), one...),
		"a byte more":            append(append(append(bytes.Clone(fixed), 1), one...), 0),
		"an unknown kind":        append(append(bytes.Clone(fixed), 1), appendBytes([]byte{9}, make([]byte, 100))...),
		"a longer body":          append(append(bytes.Clone(fixed), 1), appendBytes([]byte{byte(KindPublicKey)}, append(bytes.Clone(good.recipients[0].body), 0))...),
		"a body above the limit": append(append(bytes.Clone(fixed), 1), appendBytes([]byte{byte(KindPublicKey)}, make([]byte, maxBody+1))...),
		"two passphrases":        append(append(bytes.Clone(fixed), 2), bytes.Repeat(words(func(*passphraseBody) {})[1:], 2)...),
		"another suite":          append([]byte{2}, append(append(fixed[1:], 1), one...)...),
		"a segment of 4 GiB":     append(append(append(append(bytes.Clone(fixed[:1+fileIDSize]), 0xff, 0xff, 0xff, 0xff), fixed[1+fileIDSize+4:]...), 1), one...),
		"an unknown derivation":  append(bytes.Clone(fixed), words(func(b *passphraseBody) { b.kdf = 3 })...),
		"one round":              append(bytes.Clone(fixed), words(func(b *passphraseBody) { b.rounds = 1 })...),
		"a billion rounds":       append(bytes.Clone(fixed), words(func(b *passphraseBody) { b.rounds = 1e9 })...),
		"a terabyte":             append(bytes.Clone(fixed), words(func(b *passphraseBody) { b.memory = 1 << 30 })...),
		"no memory":              append(bytes.Clone(fixed), words(func(b *passphraseBody) { b.memory = 8 })...),
		"no lanes":               append(bytes.Clone(fixed), words(func(b *passphraseBody) { b.lanes = 0 })...),
		"pbkdf2 with lanes":      append(bytes.Clone(fixed), words(func(b *passphraseBody) { b.kdf, b.rounds, b.memory = kdfPBKDF2, 210_000, 0 })...),
		"few pbkdf2 rounds":      append(bytes.Clone(fixed), words(func(b *passphraseBody) { *b = passphraseBody{kdf: kdfPBKDF2, rounds: 1000, salt: b.salt} })...),
		"a long key name":        append(bytes.Clone(fixed), key(func(b *keyholdBody) { b.name = strings.Repeat("x", maxKeyName+1) })...),
		"a long key id":          append(bytes.Clone(fixed), key(func(b *keyholdBody) { b.id = strings.Repeat("x", maxKeyID+1) })...),
		"a long blob":            append(bytes.Clone(fixed), key(func(b *keyholdBody) { b.blob = make([]byte, maxBlob+1) })...),
	} {
		encoded := append(binary.BigEndian.AppendUint32([]byte(magic), uint32(len(body)+macSize)), body...)
		code, err := codeOf(fileKey, encoded)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := plain(t, append(encoded, code[:]...), alice); !errors.Is(err, ErrFormat) || got != "" {
			t.Errorf("%s: got %q, %v", what, got, err)
		}
	}
	for what, head := range map[string]string{"another version": "KMSE\x02\x00\x00\x01\x00", "no magic": "KMSF\x01\x00\x00\x01\x00", "a header of 4 GiB": "KMSE\x01\xff\xff\xff\xff", "no header": "KMSE\x01\x00\x00\x00\x00", "nothing": ""} {
		if _, err := Inspect(strings.NewReader(head + strings.Repeat("\x00", 256))); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: got %v", what, err)
		}
	}
}

func TestPBKDF2OpensToo(t *testing.T) {
	words := Passphrase("correct horse battery staple")
	b := passphraseBody{kdf: kdfPBKDF2, rounds: 210_000, salt: make([]byte, saltSize)}
	secret, err := b.secret(words)
	if err != nil {
		t.Fatal(err)
	}
	h := &header{segment: MinSegmentSize, context: client.Context{}}
	fileKey := bytes.Repeat([]byte{1}, fileKeySize)
	s, err := box(b.encode(), secret, KindPassphrase, h.file(), fileKey)
	if err != nil {
		t.Fatal(err)
	}
	h.recipients = []stanza{s}
	file := forge(t, h, fileKey, "x", MinSegmentSize)
	if got, err := plain(t, file, words); err != nil || got != "x" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := plain(t, file, Passphrase("correct horse battery stable")); !errors.Is(err, ErrPassphrase) {
		t.Errorf("got %v", err)
	}
}

// answers opens every stanza of a Keyhold key with one data key.
type answers struct{ client.DecryptOutput }

func (answers) GenerateDataKey(context.Context, client.GenerateDataKeyInput, ...client.Option) (client.GenerateDataKeyOutput, error) {
	return client.GenerateDataKeyOutput{Plaintext: make([]byte, 16)}, nil
}

func (a answers) Decrypt(context.Context, client.DecryptInput, ...client.Option) (client.DecryptOutput, error) {
	a.Plaintext = bytes.Clone(a.Plaintext)
	return a.DecryptOutput, nil
}

func TestAServerThatAnswersWrongIsNotBelieved(t *testing.T) {
	dataKey := bytes.Repeat([]byte{5}, dataKeySize)
	h := &header{segment: MinSegmentSize, context: client.Context{}}
	fileKey := bytes.Repeat([]byte{1}, fileKeySize)
	b := keyholdBody{version: 3, id: "id", name: "name", blob: []byte("blob")}
	s, err := box(b.encode(), dataKey, KindKeyhold, h.file(), fileKey)
	if err != nil {
		t.Fatal(err)
	}
	h.recipients = []stanza{s}
	file := forge(t, h, fileKey, "x", MinSegmentSize)
	for what, c := range map[string]struct {
		out client.DecryptOutput
		ok  bool
	}{
		"right": {client.DecryptOutput{Plaintext: dataKey, KeyID: "id", Version: 3}, true}, "another key": {client.DecryptOutput{Plaintext: dataKey, KeyID: "ie", Version: 3}, false},
		"another version": {client.DecryptOutput{Plaintext: dataKey, KeyID: "id", Version: 4}, false}, "a short data key": {client.DecryptOutput{Plaintext: dataKey[1:], KeyID: "id", Version: 3}, false},
		"another data key": {client.DecryptOutput{Plaintext: make([]byte, 32), KeyID: "id", Version: 3}, false}, "nothing": {client.DecryptOutput{}, false},
	} {
		got, err := plain(t, file, KeyholdKey{Client: answers{c.out}})
		if c.ok && (err != nil || got != "x") || !c.ok && (!errors.Is(err, ErrCorrupt) || got != "") {
			t.Errorf("%s: got %q, %v", what, got, err)
		}
	}
	if _, err := Encrypt(t.Context(), &bytes.Buffer{}, strings.NewReader(""), Options{Recipients: []Recipient{KeyholdKey{Client: answers{}, Key: "k"}}}); err == nil {
		t.Error("a data key of 16 bytes is taken")
	}
}

func FuzzHeader(f *testing.F) {
	alice := keyPair(f)
	h := &header{segment: MinSegmentSize, context: client.Context{"a": "1", "b": "2"}}
	wrapFor(f, h, alice, make([]byte, fileKeySize))
	b := keyholdBody{version: 3, id: "id", name: "name", blob: []byte("blob"), shared: true}
	p := passphraseBody{kdf: kdfArgon2id, rounds: 3, memory: 64 << 10, lanes: 4, salt: make([]byte, saltSize)}
	h.recipients = append(h.recipients, stanza{KindKeyhold, append(b.encode(), make([]byte, boxSize)...)}, stanza{KindPassphrase, append(p.encode(), make([]byte, boxSize)...)})
	f.Add(forge(f, h, make([]byte, fileKeySize), "x", MinSegmentSize))
	f.Add(forge(f, &header{segment: MaxSegmentSize, recipients: h.recipients[1:2]}, make([]byte, fileKeySize), "", MinSegmentSize))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, file []byte) {
		h, encoded, err := readHeader(bytes.NewReader(file))
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("got %v", err)
			}
			return
		}
		if got := append(h.encode(), h.code[:]...); !bytes.Equal(got, file[:len(got)]) || !bytes.Equal(encoded, got[:len(got)-macSize]) {
			t.Fatalf("another encoding of the same header: %x", got)
		}
		info := h.info()
		_, _ = info.PlaintextSize(int64(len(file)))
		if info.HeaderSize > int64(prefixSize+MaxHeader) {
			t.Fatalf("a header of %d bytes", info.HeaderSize)
		}
		// The file key of the seeds is zeros and nobody is asked: what is not the seed's data does not come out.
		got, err := plain(t, file, KeyholdKey{Client: answers{client.DecryptOutput{Plaintext: make([]byte, dataKeySize), KeyID: "id", Version: 3}}})
		if err == nil || got != "" {
			t.Fatalf("got %q, %v", got, err)
		}
	})
}

func FuzzKeyText(f *testing.F) {
	k := keyPair(f)
	f.Add(k.Public().String())
	f.Add(privatePrefix + "AAAA")
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := ParsePublicKey(text); err == nil && p.String() != strings.TrimSpace(text) {
			t.Fatalf("two texts of one key: %q", text)
		}
		if p, err := ParsePrivateKey(text); err == nil {
			if again, err := p.Export(); err != nil || again != strings.TrimSpace(text) {
				t.Fatalf("two texts of one key: %q %v", text, err)
			}
		}
	})
}
