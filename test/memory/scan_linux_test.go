package memory

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/box"
	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
	"github.com/keyhold/keyhold/internal/seal"
	"github.com/keyhold/keyhold/internal/seal/keyfile"
	"github.com/keyhold/keyhold/internal/secret"
	"github.com/keyhold/keyhold/internal/store/pebble"
)

const (
	inside = "KEYHOLD_TEST_SCAN" // set in a process that may read the server's memory
	ready  = 60 * time.Second
	unseen = 24 // bytes of a secret that must be found together to count; shorter secrets whole
)

// place says where a secret may be found.
type place struct {
	readable bool // in memory, when the kernel has no memfd_secret: in the arena, once
	cached   bool // in memory while its handle is cached
	passing  bool // used all the time, and in memory from each use to the next collection
	released bool // given to a caller: Go's TLS leaves the answer in a buffer that it has outgrown, until that memory is used again
	file     string
}

type planted struct {
	name string
	b    []byte
	may  place
}

// Whoever reads the memory of a server that works finds the keys that are in use, as the documentation says, and no others; whoever
// reads what it wrote finds none.
func TestWhatIsInMemoryIsWhatIsDocumented(t *testing.T) {
	if os.Getuid() != 0 && os.Getenv(inside) == "" {
		inANamespace(t)
		return
	}
	n := 300
	if os.Getenv("KEYHOLD_LONG") == "1" {
		n = 20000
	}
	bin, data := build(t), filepath.Join(t.TempDir(), "data")
	s := start(t, bin, data)
	created := map[string]string{}
	for name, algorithm := range map[string]string{"aes": "aes-256-gcm", "mac": "hmac-sha-256", "sign": "ecdsa-p256", "ed": "ed25519", "idle": "aes-256-gcm", "idle-mac": "hmac-sha-256"} {
		k, err := s.client.CreateKey(t.Context(), client.CreateKeyInput{Name: name, Algorithm: algorithm})
		ok(t, err)
		created[name] = k.ID
	}
	s.stop(t)
	secrets := learn(t, data, created)

	s = start(t, bin, data)
	secrets = append(secrets, s.bring(t)...)
	secrets = append(secrets, s.work(t, n)...)
	s.settle(t)
	found, hidden := s.scan(t, secrets), strings.Contains(s.log.String(), "kind=memfd_secret")
	t.Logf("%-34s %10s  %s", "secret", "in memory", "documented there")
	outgrown := 1 // buffers of TLS that nothing has reused, of all answers
	for i, p := range secrets {
		most := 0
		switch {
		case p.may.cached, p.may.passing:
			most = n // wherever the standard library has it
		case p.may.readable && !hidden:
			most = 1
		}
		t.Logf("%-34s %10d  %v", p.name, found[i], most > 0)
		if p.may.released && found[i] > 0 && outgrown > 0 {
			outgrown--
			found[i]--
		}
		if found[i] > most {
			t.Errorf("%s is %d times in memory, want at most %d", p.name, found[i], most)
		}
	}
	// A scan that finds nothing at all has not looked.
	if c := s.scan(t, []planted{{name: "control", b: []byte(filepath.Join(data, "store"))}}); c[0] == 0 {
		t.Error("the scan does not find the name of the data directory in memory: it does not work")
	}
	s.stop(t)
	onDisk(t, []string{data, s.logFile}, secrets)
}

// inANamespace runs the test where it is root over what it starts.
func inANamespace(t *testing.T) {
	exe, err := os.Executable()
	ok(t, err)
	c := exec.CommandContext(t.Context(), exe, "-test.run=^"+t.Name()+"$", "-test.v")
	c.Env = append(os.Environ(), inside+"=1")
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("in a user namespace (this needs root, or unprivileged user namespaces): %v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// build builds the program as make build does.
func build(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "keyhold")
	env := append(os.Environ(), "CGO_ENABLED=0")
	try := exec.CommandContext(t.Context(), "go", "list", "runtime/secret")
	if try.Env = append(env, "GOEXPERIMENT=runtimesecret"); try.Run() == nil {
		env = try.Env
	}
	c := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", bin, "github.com/keyhold/keyhold/cmd/keyhold")
	c.Env = env
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("build keyhold: %v\n%s", err, out)
	}
	return bin
}

type running struct {
	cmd     *exec.Cmd
	ended   chan error
	log     *bytes.Buffer
	logFile string
	client  *client.Client
	token   string
}

func start(t *testing.T, bin, data string) *running {
	t.Helper()
	s := &running{ended: make(chan error, 1), log: new(bytes.Buffer), logFile: filepath.Join(t.TempDir(), "log")}
	s.cmd = exec.Command(bin, "server", "--dev", "--data", data, "--listen", "127.0.0.1:0") //nolint:gosec,noctx // G204: our own; it is stopped by a signal
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	s.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GOGC=20"} // collect often
	env := filepath.Join(data, "dev.env")
	if err := os.Remove(env); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	ok(t, s.cmd.Start())
	go func() { s.ended <- s.cmd.Wait() }()
	t.Cleanup(func() { s.stop(t) })
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	late := time.After(ready)
	for {
		if b, err := os.ReadFile(env); err == nil {
			set := map[string]string{}
			for line := range strings.Lines(string(b)) {
				name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
				set[name] = value
			}
			s.token = set["KEYHOLD_TOKEN"]
			ca, err := os.ReadFile(set["KEYHOLD_CACERT"])
			ok(t, err)
			s.client, err = client.New(client.Config{Address: set["KEYHOLD_ADDR"], Token: s.token, CACert: ca})
			ok(t, err)
			return s
		}
		select {
		case err := <-s.ended:
			t.Fatalf("the server ended: %v\n%s", err, s.log)
		case <-late:
			t.Fatalf("the server is not ready after %s", ready)
		case <-poll.C:
		}
	}
}

// stop may be called more than once.
func (s *running) stop(t *testing.T) {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(os.Interrupt)
	if err := <-s.ended; err != nil {
		t.Errorf("the server ended: %v\n%s", err, s.log)
	}
	s.cmd = nil
	if err := os.WriteFile(s.logFile, s.log.Bytes(), 0o600); err != nil {
		t.Error(err)
	}
}

// learn opens a stopped server's data directory and reads all keys there are.
func learn(t *testing.T, data string, keys map[string]string) []planted {
	t.Helper()
	st, err := pebble.Open(pebble.Config{Dir: filepath.Join(data, "store")})
	ok(t, err)
	defer st.Close() //nolint:errcheck // read only
	sys, err := records.ReadSystem(t.Context(), st)
	ok(t, err)
	config, err := seal.ParseConfig(sys.Config)
	ok(t, err)
	seed, err := keyfile.Read(filepath.Join(data, "root.key"))
	ok(t, err)
	all := []planted{}
	all = append(all, secretsOf("recipient's seed", reflect.ValueOf(seed), place{file: "root.key"})...)
	private, err := config.WithSeed(seal.KindKeyFile, seed)
	ok(t, err)
	root, err := config.Open(private)
	ok(t, err)
	all = append(all, secretsOf("root", reflect.ValueOf(root), place{readable: true})...)
	chain, err := seal.OpenKeychain(root, sys.Keychain)
	ok(t, err)
	for _, p := range secretsOf("keychain", reflect.ValueOf(chain), place{readable: true}) {
		p.may.passing = p.name == "keychain.sign" // every checkpoint needs it, and Go's Ed25519 its expansion on the heap
		all = append(all, p)
	}
	epochs, err := seal.OpenEpochs(seal.Dirs{Shred: filepath.Join(data, "shred"), Escrow: filepath.Join(data, "escrow")}, root, 1)
	ok(t, err)
	e := reflect.ValueOf(epochs).Elem().FieldByName("live")
	all = append(all, secretsOf("epoch", e, place{readable: true})...)
	rec := records.New(st, chain, config.Cluster())

	ns := kms.DefaultNamespace
	space, err := rec.Namespace(t.Context(), ns)
	ok(t, err)
	row, err := rec.NamespaceShred(t.Context(), ns)
	ok(t, err)
	at := seal.Place{Kind: seal.PlaceNamespace, Namespace: ns}.Bytes()
	shred, err := epochs.OpenShred(row.Row, at)
	ok(t, err)
	all = append(all, secretsOf("namespace's shred secret", reflect.ValueOf(shred), place{})...)
	kek, err := root.UnwrapKEK(space.KEK, shred, at)
	ok(t, err)
	all = append(all, secretsOf("namespace KEK", reflect.ValueOf(kek), place{readable: true})...)
	for name, text := range keys {
		id, good := kms.ParseID(text)
		if !good {
			t.Fatalf("%q is no id", text)
		}
		v, row, err := rec.VersionWithShred(t.Context(), id, 1)
		ok(t, err)
		at := seal.Place{Kind: seal.PlaceVersion, Namespace: ns, Key: id, Version: 1}.Bytes()
		shred, err := epochs.OpenShred(row.Row, at)
		ok(t, err)
		all = append(all, secretsOf("shred secret of "+name, reflect.ValueOf(shred), place{})...)
		wrap, err := kek.Wrapping(shred, at)
		ok(t, err)
		all = append(all, secretsOf("wrapping key of "+name, reflect.ValueOf(wrap), place{})...)
		const header = 3
		raw, err := wrap.Open(nil, box.Material, v.Wrapped[:header], v.Wrapped[header:], at)
		ok(t, err)
		if len(raw) > 64 { // PKCS #8: the scalar stands behind its tag and length
			i := bytes.Index(raw, []byte{0x04, 0x20})
			if i < 0 {
				t.Fatal("no scalar in a PKCS #8 key of P-256")
			}
			raw = raw[i+2 : i+34]
		}
		all = append(all, planted{"material of " + name, raw, place{cached: !strings.HasPrefix(name, "idle")}})
	}
	return all
}

// secretsOf collects the bytes of every secret within a value, fields that are not exported included.
func secretsOf(name string, v reflect.Value, may place) (all []planted) {
	seen := map[uintptr]bool{}
	var walk func(name string, v reflect.Value)
	walk = func(name string, v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer:
			if v.IsNil() || seen[v.Pointer()] {
				return
			}
			seen[v.Pointer()] = true
			if v.Type() == reflect.TypeFor[*secret.Bytes]() {
				if b := v.Elem().FieldByName("b").Bytes(); len(b) > 0 {
					all = append(all, planted{name, bytes.Clone(b), may})
				}
				return
			}
			walk(name, v.Elem())
		case reflect.Struct:
			for i := range v.NumField() {
				walk(name+"."+v.Type().Field(i).Name, v.Field(i))
			}
		case reflect.Slice, reflect.Array:
			for i := range v.Len() {
				walk(name, v.Index(i))
			}
		case reflect.Map:
			for _, k := range v.MapKeys() {
				walk(name, v.MapIndex(k))
			}
		default:
		}
	}
	walk(name, v)
	return all
}

// work uses every key, and answers what was released.
func (s *running) work(t *testing.T, n int) (released []planted) {
	t.Helper()
	ctx := t.Context()
	for i := range n {
		plain := fmt.Appendf(nil, "planted plaintext %06d: Nq7#xV2@%d", i, i*i)
		sealed, err := s.client.Encrypt(ctx, client.EncryptInput{Key: "aes", Plaintext: plain})
		ok(t, err)
		got, err := s.client.Decrypt(ctx, client.DecryptInput{Ciphertext: sealed.Ciphertext})
		ok(t, err)
		if !bytes.Equal(got.Plaintext, plain) {
			t.Fatalf("decrypted %q, want %q", got.Plaintext, plain)
		}
		key, err := s.client.GenerateDataKey(ctx, client.GenerateDataKeyInput{Key: "aes"})
		ok(t, err)
		if i%50 == 0 {
			for _, name := range []string{"sign", "ed"} {
				_, err := s.client.Sign(ctx, client.SignInput{Key: name, Message: plain})
				ok(t, err)
			}
			_, err := s.client.RotateKey(ctx, "aes")
			ok(t, err)
		}
		if i%(n/5) == 0 {
			released = append(released, planted{fmt.Sprintf("plaintext %d", i), plain, place{released: true}}, planted{fmt.Sprintf("data key %d", i), key.Plaintext, place{released: true}})
		}
	}
	return released
}

// settle gives the collector work, several times the heap, and uses again the memory that messages of the planted sizes were in: what Go's TLS leaves in
// a buffer that it outgrew stays there until then.
func (s *running) settle(t *testing.T) {
	t.Helper()
	large, small := bytes.Repeat([]byte("filler "), 8<<10), []byte("filler for plaintexts of this size..")
	for range 200 {
		_, err := s.client.Encrypt(t.Context(), client.EncryptInput{Key: "aes", Plaintext: large})
		ok(t, err)
		sealed, err := s.client.Encrypt(t.Context(), client.EncryptInput{Key: "aes", Plaintext: small})
		ok(t, err)
		_, err = s.client.Decrypt(t.Context(), client.DecryptInput{Ciphertext: sealed.Ciphertext})
		ok(t, err)
		_, err = s.client.Sign(t.Context(), client.SignInput{Key: "ed", Message: small})
		ok(t, err)
		_, err = s.client.GenerateDataKey(t.Context(), client.GenerateDataKeyInput{Key: "aes"})
		ok(t, err)
	}
}

// forms are the ways in which a secret may lie in memory: as it is, in text, and masked as HMAC masks its key (RFC 2104 §2).
func forms(b []byte) [][]byte {
	if len(b) > unseen && len(b) <= 64 {
		b = b[:unseen]
	}
	masked := func(pad byte) []byte {
		out := bytes.Clone(b)
		for i := range out {
			out[i] ^= pad
		}
		return out
	}
	return [][]byte{b, []byte(hex.EncodeToString(b)), []byte(base64.StdEncoding.EncodeToString(b[:len(b)/3*3])), masked(0x36), masked(0x5c)}
}

// scan counts secrets in the memory of the server.
func (s *running) scan(t *testing.T, secrets []planted) []int {
	t.Helper()
	dir := filepath.Join("/proc", strconv.Itoa(s.cmd.Process.Pid))
	maps, err := os.Open(filepath.Join(dir, "maps"))
	ok(t, err)
	defer maps.Close() //nolint:errcheck // read only
	mem, err := os.Open(filepath.Join(dir, "mem"))
	ok(t, err)
	defer mem.Close() //nolint:errcheck // read only
	found := make([]int, len(secrets))
	total := 0
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 2 || !strings.HasPrefix(f[1], "rw") {
			continue
		}
		from, to, _ := strings.Cut(f[0], "-")
		lo, err := strconv.ParseUint(from, 16, 63)
		ok(t, err)
		hi, err := strconv.ParseUint(to, 16, 63)
		ok(t, err)
		const step, overlap = 4 << 20, 1 << 10
		buf := make([]byte, step+overlap)
		for at := lo; at < hi; at += step {
			n, err := mem.ReadAt(buf[:min(step+overlap, hi-at)], int64(at)) //nolint:gosec // G115: 63 bits
			if n == 0 && err != nil {
				break // memfd_secret: EIO
			}
			total += min(n, step)
			for i := range secrets {
				for _, form := range forms(secrets[i].b) {
					for j := 0; ; {
						k := bytes.Index(buf[j:n], form)
						if k < 0 || j+k >= step {
							break
						}
						found[i]++
						j += k + len(form)
					}
				}
			}
		}
	}
	ok(t, lines.Err())
	if total == 0 {
		t.Fatal("nothing of the server's memory could be read")
	}
	t.Logf("%d MiB read, %d secrets looked for", total>>20, len(secrets))
	return found
}

// onDisk looks through files and everything below directories.
func onDisk(t *testing.T, places []string, secrets []planted) {
	t.Helper()
	files := 0
	for _, root := range places {
		ok(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			files++
			for _, p := range secrets {
				for _, form := range forms(p.b) {
					if bytes.Contains(b, form) && p.may.file != filepath.Base(path) {
						t.Errorf("%s is in %s", p.name, path)
					}
				}
			}
			return nil
		}))
	}
	if files < 10 {
		t.Errorf("only %d files were looked through", files)
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
