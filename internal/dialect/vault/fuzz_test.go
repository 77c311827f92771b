package vault

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/secret"
)

// FuzzPaths: a path leads to one place, or to none; that place's own path leads there too.
func FuzzPaths(f *testing.F) {
	for _, s := range []string{"/v1/transit/encrypt/k", "/v1//transit//keys/k/", "/v1/a/transit/keys", "/v1/team/t/sign/k/sha2-256", "/v1/sys/mounts/a/b/tune", "/v1/sys/leases/lookup/x", "/v1/secret/metadata/", "/v1/team/kv/data/a/b/c", "/v1/../sys/health", "/v1/", "/", strings.Repeat("/v1/a", 100)} {
		f.Add(s)
	}
	h := &handler{mounts: []string{defaultMount, "team/t"}, kv: []string{"secret", "team/kv"}, index: indexed(routes)}
	f.Fuzz(func(t *testing.T, path string) {
		p, bad := h.locate(path)
		if bad != nil {
			if strings.HasPrefix(path, "/v1/") {
				t.Fatalf("%q: %v", path, bad)
			}
			return
		}
		for _, method := range []string{"GET", "POST", methodList, "DELETE", "HEAD", "PATCH"} {
			again, _ := h.locate("/v1/" + p.path)
			rt, allowed := h.find(&p, method)
			if rt == nil {
				continue
			}
			if !allowed {
				t.Fatalf("%q: found, and not allowed", path)
			}
			if same, _ := h.find(&again, method); same != rt || again.names != p.names || again.namespace != p.namespace {
				t.Fatalf("%q and %q lead to different places", path, p.path)
			}
			for _, s := range p.names {
				if strings.HasPrefix(s, "/") || strings.HasSuffix(s, "/") {
					t.Fatalf("%q: name %q", path, s)
				}
			}
		}
	})
}

// loginMembers reads a member as those of logins are read.
func loginMembers(t *testing.T, x *exchange, in fields, name string) {
	x.in = in
	if all, bad := x.several(in, name); bad == nil && len(all) > maxTexts {
		t.Fatalf("%d names", len(all))
	}
	if nets, bad := x.networksIf(nil, name); bad == nil {
		for _, p := range *nets {
			if p != p.Masked() || !p.IsValid() {
				t.Fatalf("network %s", p)
			}
		}
	}
	if s, bad := x.sealedText(name); bad == nil {
		s.Zero()
	}
	if rights, bad := x.rights(name); bad == nil && rights != nil && slices.Contains(rights.Groups, "root") {
		t.Fatal("a root token")
	}
	x.in = fields{{[]byte("metadata"), in.raw(name)}}
	_, _ = x.metadata()
	_, _ = x.usesIf("metadata")
}

// FuzzVersions: what is read is what was written.
func FuzzVersions(f *testing.F) {
	for _, s := range []string{"vault:v1:AAAA", "vault:v2147483647:", "vault:v0:", "vault:v1:a:b", "vault:", "", "vault:v+1:x", "vault:v99999999999:x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, rest, bad := versionOf([]byte(s), "ciphertext")
		if bad != nil {
			if bad.status != 400 || !strings.HasPrefix(bad.texts[0], "invalid ciphertext: ") {
				t.Fatalf("%q: %v", s, bad)
			}
			return
		}
		if n == 0 || !strings.HasSuffix(s, ":"+string(rest)) || bytes.IndexByte(rest, ':') >= 0 {
			t.Fatalf("%q: got %d and %q", s, n, rest)
		}
	})
}

// FuzzBodies: a body is what encoding/json takes it for, or it is refused; its members, read as anything, do no harm.
func FuzzBodies(f *testing.F) {
	for _, s := range []string{``, ` `, `null`, `{}`, `{"a":1,"b":"x\u00e9","c":null,"batch_input":[{"plaintext":"aGk="},{}]}`, `{"a":1,"a":2}`, `[]`, `{bad`, `{"a":"\ud800"}`, `{} x`, `{"n":1e400,"d":"30d","t":"5m"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		x := &exchange{plain: make([]byte, 0, len(body))}
		in, bad := x.j.object(body, nil)
		if bad != nil {
			if bad.status != 400 || !utf8.ValidString(bad.texts[0]) {
				t.Fatalf("%q: %v", body, bad)
			}
			return
		}
		if len(bytes.TrimSpace(body)) > 0 {
			var theirs map[string]json.RawMessage
			if err := json.Unmarshal(body, &theirs); err != nil {
				t.Fatalf("%q: taken, and encoding/json says %v", body, err)
			}
			some := 0
			for _, raw := range theirs {
				if string(raw) != "null" {
					some++
				}
			}
			if some != len(in) {
				t.Fatalf("%q: %d members, encoding/json has %d", body, len(in), some)
			}
		}
		for _, m := range in {
			name := string(m.name)
			if !json.Valid(m.raw) {
				t.Fatalf("%q: %q has %q", body, name, m.raw)
			}
			_, _ = in.text(name)
			_, _ = in.number(name)
			_, _ = in.version(name)
			_, _ = in.yes(name)
			_, _ = in.span(name)
			if b, bad := x.blob(in, name); bad == nil && len(b) > len(m.raw) {
				t.Fatalf("%q: a blob of %d bytes from %d", body, len(b), len(m.raw))
			}
			_, _, _ = x.versioned(in, name, "ciphertext")
			loginMembers(t, x, in, name)
			if all, bad := (&decoder{}).list(m.raw); bad == nil && len(all) > engine.MaxItems {
				t.Fatalf("%d items", len(all))
			}
		}
	})
}

// FuzzMerge: a patch does what RFC 7396 says, here in the words of its own pseudocode.
func FuzzMerge(f *testing.F) {
	for _, s := range [][2]string{{`{"a":"b","c":{"d":"e","f":"g"}}`, `{"a":"z","c":{"f":null}}`}, {`{}`, `{"a":{"bb":{"ccc":null}}}`}, {`{"e":null}`, `{"a":1}`}, {`{"a":[1,2]}`, `{"a":{"b":"c"}}`},
		{`{"\u0061":1}`, `{"a":null}`}, {`{"a":{}}`, strings.Repeat(`{"a":`, 70) + "1" + strings.Repeat("}", 70)}} {
		f.Add([]byte(s[0]), []byte(s[1]))
	}
	f.Fuzz(func(t *testing.T, document, patch []byte) {
		for _, b := range []*[]byte{&document, &patch} {
			var j decoder
			if in, bad := j.object(*b, nil); bad != nil || in == nil && !bytes.HasPrefix(bytes.TrimSpace(*b), []byte("{")) {
				return
			}
			*b = bytes.TrimSpace(*b)
		}
		var e encoder
		if err := e.subkeys(document, maxMergeDepth); err != nil || !json.Valid(e.b) || len(e.b) > 6*len(document) {
			t.Fatalf("%s has the subkeys %s, %v", document, e.b, err)
		}
		got, err := merge(secret.Release(bytes.Clone(document)), patch)
		if err != nil {
			if !errors.Is(err, errDeepPatch) {
				t.Fatal(err)
			}
			return
		}
		if len(got) > len(document)+len(patch) {
			t.Fatalf("%s with %s has %d bytes: %s", document, patch, len(got), got)
		}
		var was, changes, now any
		for b, to := range map[*[]byte]*any{&document: &was, &patch: &changes, &got: &now} {
			d := json.NewDecoder(bytes.NewReader(*b))
			d.UseNumber()
			if err := d.Decode(to); err != nil {
				t.Fatalf("%s: %v", *b, err)
			}
		}
		if want := mergePatched(was, changes); !reflect.DeepEqual(now, want) {
			t.Fatalf("%s with %s: got %s want %v", document, patch, got, want)
		}
	})
}

// mergePatched is MergePatch of RFC 7396 §2.
func mergePatched(target, patch any) any {
	changes, is := patch.(map[string]any)
	if !is {
		return patch
	}
	all, is := target.(map[string]any)
	if !is {
		all = map[string]any{}
	}
	for name, value := range changes {
		if value == nil {
			delete(all, name)
		} else {
			all[name] = mergePatched(all[name], value)
		}
	}
	return all
}

// FuzzSignatures: r and s of a JSON Web Signature are those of ASN.1, for each of their algorithms, and nothing else is touched.
func FuzzSignatures(f *testing.F) {
	for _, n := range []int{0, 63, 64, 96, 132} {
		f.Add(bytes.Repeat([]byte{0x80}, n))
		f.Add(make([]byte, n))
	}
	f.Fuzz(func(t *testing.T, sig []byte) {
		for a, n := range halves {
			structure := der(a, sig)
			if len(sig) != 2*n {
				if !bytes.Equal(structure, sig) {
					t.Fatalf("%s: %x became %x", a, sig, structure)
				}
				continue
			}
			if again := (&signing{algorithm: a}).raw(structure); !bytes.Equal(again, sig) {
				t.Fatalf("%s: got %x back of %x", a, again, sig)
			}
		}
		if !bytes.Equal(der(kms.Ed25519, sig), sig) {
			t.Fatalf("a signature of Ed25519 became %x", der(kms.Ed25519, sig))
		}
	})
}

// TestNothingStaysOfAnAnswerThatGrew: the buffers that an answer outgrew are erased.
func TestNothingStaysOfAnAnswerThatGrew(t *testing.T) {
	var e encoder
	e.envelope("id")
	e.open()
	e.released("plaintext", secret.Release([]byte("a plaintext that must not stay")))
	was := e.b
	for len(e.b) <= cap(was) {
		e.text("reference", strings.Repeat("r", 300))
	}
	if !bytes.Equal(was, make([]byte, len(was))) {
		t.Errorf("the first buffer still has %q", was)
	}
}

// FuzzChains: a chain that is taken is the one that is shown.
func FuzzChains(f *testing.F) {
	for _, s := range []string{"", " ", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", certificates([][]byte{{1}, {2, 3}}), certificates([][]byte{{}}), "-----BEGIN X-----\n-----END X-----", strings.Repeat("-----BEGIN ", 50)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		chain, bad := chainOf(s)
		if bad != nil {
			if bad.status != 400 && bad.status != 413 {
				t.Fatalf("%q: %v", s, bad)
			}
			return
		}
		again, bad := chainOf(certificates(chain))
		if len(chain) == 0 || len(chain) > maxChainBlocks || bad != nil && len(certificates(chain)) <= maxChainPEM || bad == nil && !reflect.DeepEqual(chain, again) {
			t.Fatalf("%q: got %x, and of that %x, %v", s, chain, again, bad)
		}
	})
}

// FuzzWrappings: a hash has one transport whatever its case, and it nests.
func FuzzWrappings(f *testing.F) {
	for _, s := range []string{"", "SHA256", "sha1", "Sha512", "SHA-256", "MD5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		by, bad := wrappingNamed(s)
		if (bad == nil) != by.Nested() {
			t.Fatalf("%q: %s, %v", s, by, bad)
		}
	})
}
