package faults

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyhold/keyhold/client"
)

// unread are the files of which a changed byte may go unnoticed, each for its reason: nothing that counts is read from there.
var unread = []struct {
	path *regexp.Regexp
	why  string
	mask byte // 0: any
}{
	{path: regexp.MustCompile(`/reserve(\.new)?$`), why: "space that is kept free; its content is nothing"},
	{path: regexp.MustCompile(`^escrow/`), why: "copies for the custodians, read when they restore; sealed to them"},
	{path: regexp.MustCompile(`^shares/`), why: "the custodians' own shares, which a development server writes beside its data"},
	{path: regexp.MustCompile(`^audit\.pub$`), why: "the public key, written anew at each start of a development server"},
	{path: regexp.MustCompile(`^dev\.env$`), why: "written anew at each start"},
	{path: regexp.MustCompile(`^tls/`), why: "names the server to its clients, who check it; and the text around PEM"},
	{path: regexp.MustCompile(`^audit/.*/tile/`), why: "derived from the records, and made again when wrong; the verification does not read them"},
	{path: regexp.MustCompile(`^audit/.*/index/`), why: "derived from the records; what is looked up by it is compared below"},
	{path: regexp.MustCompile(`^audit/.*/checkpoints$`), why: "not synced: a note at its end that is broken counts as torn, and the newest one stands in the file checkpoint, too; the verification says so"},
	{path: regexp.MustCompile(`^store/[0-9]+\.sst$`), why: "tokens of transactions and properties of tables, which the check of the store does not read; whoever reads them finds it by their checksums"},
	{path: regexp.MustCompile(`^store/MANIFEST-`), why: "the engine takes a damaged end for a torn write; what that loses of what was acknowledged is missed by HEAD and by the log, and compared below"},
	{path: regexp.MustCompile(`^store/OPTIONS-`), why: "how the engine was last set; the program sets it anew"},
	{path: regexp.MustCompile(`^(cluster|root\.key)$`), why: "hexadecimal digits: a letter means the same in either case", mask: 'a' ^ 'A'},
}

// flip is one changed bit.
type flip struct {
	path   string // below the data directory
	offset int64
	mask   byte
}

// harmless tells whether a change may go unnoticed.
func (f flip) harmless() bool {
	for _, u := range unread {
		if u.path.MatchString(f.path) && (u.mask == 0 || u.mask == f.mask) {
			return true
		}
	}
	return false
}

func (f flip) String() string { return fmt.Sprintf("%s, byte %d ^ %#02x", f.path, f.offset, f.mask) }

// apply changes the bit in a copy of the directory.
func (f flip) apply(dir string) error {
	path := filepath.Join(dir, f.path)
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	b[f.offset] ^= f.mask
	return os.WriteFile(path, b, 0o600)
}

// specimen is a data directory that a server left, and what is known of its content.
type specimen struct {
	dir, token, anchor string
	keys               map[string]client.Key
	sealed             map[string][]byte
}

const flipPolicy = "permit (principal == Principal::\"svc/x\", action == Action::\"Encrypt\", resource);\n"

// newSpecimen lets a server fill a directory; it is stopped, or killed, which leaves other files.
func newSpecimen(t *testing.T, killed bool) *specimen {
	t.Helper()
	s := &specimen{dir: filepath.Join(t.TempDir(), "d"), keys: make(map[string]client.Key), sealed: make(map[string][]byte)}
	for round := range 3 { // several boot epochs, and tables beside the write-ahead log
		p := start(t, s.dir)
		c := p.client()
		for i := range 10 {
			name := fmt.Sprintf("k%d-%d", round, i)
			_, err := c.CreateKey(t.Context(), client.CreateKeyInput{Name: name, Algorithm: "aes-256-gcm"})
			if err != nil {
				t.Fatal(err)
			}
			out, err := c.Encrypt(t.Context(), client.EncryptInput{Key: name, Plaintext: []byte(name)})
			if err != nil {
				t.Fatal(err)
			}
			s.sealed[name] = out.Ciphertext
			if i%3 == 0 {
				if _, err := c.RotateKey(t.Context(), name); err != nil {
					t.Fatal(err)
				}
			}
			if i%5 == 4 {
				if _, err := c.DisableKey(t.Context(), name); err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, err := c.PutPolicy(t.Context(), "p", flipPolicy); err != nil {
			t.Fatal(err)
		}
		s.token = p.env["KEYHOLD_TOKEN"]
		if round == 2 {
			for _, k := range must(t, c.ListKeys(t.Context(), client.KeyFilter{})) {
				s.keys[k.Name] = k
			}
			s.anchor = keepCheckpoint(t, c, 0)
		}
		if killed {
			p.kill()
		} else {
			p.stop()
		}
	}
	return s
}

// flips samples bits of every file: most where there is something, some in what is zero.
func (s *specimen) flips(t *testing.T, rng *rand.Rand, each int) []flip {
	t.Helper()
	var all []flip
	err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil || len(b) == 0 {
			return err
		}
		rel, err := filepath.Rel(s.dir, path)
		if err != nil {
			return err
		}
		end := len(bytes.TrimRight(b, "\x00"))
		for i := range each {
			at := rng.IntN(max(end, 1))
			if i%8 == 7 {
				at = rng.IntN(len(b))
			}
			all = append(all, flip{rel, int64(at), 1 << rng.IntN(8)})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// named is what became of a flip.
type named int

const (
	refusedStart named = iota // the server does not start, and says why
	storeNamed                // it starts, and the check of the store names what is damaged
	logNamed                  // the verification of the log does
	startNamed                // the start does, and goes on: what lies behind the last record that was acknowledged is no record
	unnoticed                 // everything is as it was
	wrong                     // what must not be
)

var outcomes = [...]string{"start refused", "named by the store's check", "named by the log's verification", "named by the start", "unnoticed, and nothing is wrong", "WRONG"}

// look starts a server on an altered copy and judges.
func (s *specimen) look(t *testing.T, dir string) (named, string) {
	t.Helper()
	out, verr := verify(t.Context(), dir, s.anchor) // of the log as it lies there, before a server mends its end
	if strings.Contains(out, "panic") || strings.Contains(out, "goroutine ") {
		return wrong, "keyhold-verify panicked: " + out
	}
	env := filepath.Join(dir, "dev.env")
	if err := os.Remove(env); err != nil {
		return wrong, err.Error()
	}
	p := launch(t, dir)
	defer p.kill()
	deadline, tick := time.After(ready), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for up := false; !up; {
		select {
		case <-p.ended:
			said := p.log.String()
			if strings.Contains(said, "panic") || strings.Contains(said, "goroutine ") || strings.Contains(said, "fatal error") || p.cmd.ProcessState.ExitCode() != 1 {
				return wrong, "the server crashed:\n" + said
			}
			lines := strings.Split(strings.TrimSpace(said), "\n")
			return refusedStart, lines[len(lines)-1] + " / " + said
		case <-deadline:
			return wrong, "the server neither started nor refused:\n" + p.log.String()
		case <-tick.C:
			_, err := os.Stat(env)
			up = err == nil
		}
	}
	c, err := client.New(client.Config{Address: "unix://" + filepath.Join(dir, "keyhold.sock"), Token: s.token, Namespace: "default", Retry: client.Retry{Attempts: 1}})
	if err != nil {
		return wrong, err.Error()
	}
	defer c.Close()
	report, err := c.CheckStore(t.Context())
	complains := err != nil || report.DamagedCount > 0
	if what := s.differs(t, c); what != "" && (!complains && verr == nil || strings.HasPrefix(what, "!")) {
		return wrong, what + "\n" + p.log.String()
	}
	switch {
	case complains:
		return storeNamed, fmt.Sprintf("%v %v", report.Damaged, err)
	case verr != nil:
		return logNamed, out
	case strings.Contains(p.log.String(), "torn end of the audit log cut"):
		return startNamed, ""
	}
	return unnoticed, ""
}

// differs compares what the server has with what it must have. A difference that no damage excuses begins with "!": a wrong answer instead of none.
func (s *specimen) differs(t *testing.T, c *client.Client) string {
	t.Helper()
	for name, want := range s.keys {
		got, err := c.DescribeKey(t.Context(), name)
		if err != nil {
			return fmt.Sprintf("%s: %v", name, err)
		}
		if got.ID != want.ID || got.State != want.State || got.PrimaryVersion != want.PrimaryVersion {
			return fmt.Sprintf("!%s: got %+v, want %+v", name, got, want)
		}
		if want.State != enabled {
			continue
		}
		out, err := c.Decrypt(t.Context(), client.DecryptInput{Ciphertext: s.sealed[name]})
		if err != nil {
			return fmt.Sprintf("%s: %v", name, err)
		}
		if string(out.Plaintext) != name {
			return fmt.Sprintf("!%s: decrypted to %q", name, out.Plaintext)
		}
	}
	for _, name := range []string{"k0-0", "k1-3", "k2-9"} { // by the index
		found := 0
		for r, err := range c.ListRecords(t.Context(), client.AuditFilter{KeyID: s.keys[name].ID, Action: "CreateKey"}) {
			if err != nil {
				return fmt.Sprintf("records of %s: %v", name, err)
			}
			if r.Outcome == "ok" {
				found++
			}
		}
		if found != 1 {
			return fmt.Sprintf("!%d records of the making of %s", found, name)
		}
	}
	if p, err := c.GetPolicy(t.Context(), "p"); err != nil || p.Text != flipPolicy {
		return fmt.Sprintf("policy: %q, %v", p.Text, err)
	}
	return ""
}

// TestAFlippedByteIsNamed changes single bits in what a stopped, or killed, server left: each is named by the next start, the check of the store, or the
// verification of the log; or it is in a file of the list above. No wrong answer is given and nothing panics.
func TestAFlippedByteIsNamed(t *testing.T) {
	t.Parallel()
	seed := uint64(1)
	if long {
		seed = uint64(time.Now().UnixNano()) //nolint:gosec // G115: not negative
	}
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 3))
	type job struct {
		s *specimen
		f flip
	}
	var jobs []job
	for _, killed := range []bool{false, true} {
		s := newSpecimen(t, killed)
		if got, said := s.look(t, copied(t, s.dir)); got != unnoticed {
			t.Fatalf("an unaltered copy: %s: %s", outcomes[got], said)
		}
		for _, f := range s.flips(t, rng, sized(2, 300)) {
			jobs = append(jobs, job{s, f})
		}
	}
	rng.Shuffle(len(jobs), func(i, k int) { jobs[i], jobs[k] = jobs[k], jobs[i] })
	jobs = jobs[:min(len(jobs), sized(60, 1<<20))]
	work := make(chan job)
	var wg sync.WaitGroup
	var mu sync.Mutex // guards counts
	counts := make(map[string]int)
	for range 4 {
		wg.Go(func() {
			for j := range work {
				dir := copied(t, j.s.dir)
				if err := j.f.apply(dir); err != nil {
					t.Error(err)
					continue
				}
				got, said := j.s.look(t, dir)
				_ = os.RemoveAll(dir)
				mu.Lock()
				counts[outcomes[got]]++
				mu.Unlock()
				if got == wrong || got == unnoticed && !j.f.harmless() {
					t.Errorf("%s: %s: %s", j.f, outcomes[got], said)
				}
			}
		})
	}
	for _, j := range jobs {
		work <- j
	}
	close(work)
	wg.Wait()
	t.Logf("%d flips: %v", len(jobs), counts)
}

// copied copies a data directory.
func copied(t *testing.T, dir string) string {
	t.Helper()
	parent, err := os.MkdirTemp("", "flip-") // short: a socket's path is
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(parent) })
	to := filepath.Join(parent, "d")
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		case !d.Type().IsRegular():
			return nil // the socket
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), b, info.Mode().Perm())
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}
