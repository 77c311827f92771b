package sink

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/audit/audittest"
)

// message is what a receiver reads of an RFC 5424 message.
type message5424 struct {
	pri                             int
	stamp, host, app, procID, msgID string
	sdID                            string
	params                          [][2]string
	text                            string
}

// readFrame reads one message framed by its length (RFC 5425 §4.3).
func readFrame(r *bufio.Reader) (string, error) {
	digits, err := r.ReadString(' ')
	if err != nil {
		return "", err
	}
	n, err := strconv.Atoi(strings.TrimSuffix(digits, " "))
	if err != nil || n < 1 || n > MaxMessageBytes || digits[0] == '0' {
		return "", fmt.Errorf("%q is not a length", digits)
	}
	msg := make([]byte, n)
	_, err = io.ReadFull(r, msg)
	return string(msg), err
}

// parse5424 reads a message as the grammar of RFC 5424 §6 has it; one structured data element is expected.
func parse5424(s string) (m message5424, err error) {
	bad := func(what string) (message5424, error) { return m, fmt.Errorf("%s in %q", what, s) }
	head := strings.SplitN(s, " ", 7)
	if len(head) != 7 || !strings.HasPrefix(head[0], "<") || !strings.HasSuffix(head[0], ">1") {
		return bad("no header")
	}
	if m.pri, err = strconv.Atoi(head[0][1 : len(head[0])-2]); err != nil || m.pri > 191 {
		return bad("no priority")
	}
	m.stamp, m.host, m.app, m.procID, m.msgID = head[1], head[2], head[3], head[4], head[5]
	if _, err := time.Parse(time.RFC3339Nano, m.stamp); err != nil {
		return bad("no timestamp")
	}
	for _, f := range head[2:6] {
		if f == "" || strings.ContainsFunc(f, func(r rune) bool { return r < 33 || r > 126 }) {
			return bad("no header field")
		}
	}
	rest, ok := strings.CutPrefix(head[6], "[")
	if !ok {
		return bad("no structured data")
	}
	at := strings.IndexAny(rest, " ]")
	if at < 1 {
		return bad("no SD-ID")
	}
	m.sdID, rest = rest[:at], rest[at:]
	for strings.HasPrefix(rest, " ") {
		name, after, ok := strings.Cut(rest[1:], `="`)
		if !ok || name == "" || len(name) > 32 || strings.ContainsAny(name, " =]\"") {
			return bad("no parameter")
		}
		var value strings.Builder
		end := -1
		for i := 0; i < len(after) && end < 0; i++ {
			switch c := after[i]; {
			case c == '\\' && i+1 < len(after) && strings.IndexByte(`"\]`, after[i+1]) >= 0:
				i++
				value.WriteByte(after[i])
			case c == '"':
				end = i
			case c == ']':
				return bad("a bracket that is not escaped")
			default:
				value.WriteByte(c)
			}
		}
		if end < 0 {
			return bad("no end of a value")
		}
		m.params, rest = append(m.params, [2]string{name, value.String()}), after[end+1:]
	}
	rest, ok = strings.CutPrefix(rest, "]")
	if !ok {
		return bad("no end of the structured data")
	}
	if rest != "" {
		if m.text, ok = strings.CutPrefix(rest, " "+bom); !ok || !utf8.ValidString(m.text) {
			return bad("no UTF-8 text")
		}
	}
	return m, nil
}

func (m *message5424) param(name string) string {
	for _, p := range m.params {
		if p[0] == name {
			return p[1]
		}
	}
	return ""
}

func testHeader() header {
	return header{facility: 13, host: "host.example", procID: "77", sdID: "keyhold@32473", mostLength: 8192}
}

func entryOf(r *audit.Record) *audit.Entry {
	return &audit.Entry{Position: audit.Position{Node: "n1", Epoch: 12, Seq: 3456}, Record: *r}
}

// format makes the message of a record, and reads it again.
func format(t *testing.T, h header, r *audit.Record) message5424 {
	t.Helper()
	e := entryOf(r)
	rec := recordOf(e)
	line, err := encode(&rec)
	if err != nil {
		t.Fatal(err)
	}
	framed, err := h.message(nil, "keyhold.test/n1/12", e, &rec, line)
	if err != nil {
		t.Fatal(err)
	}
	rd := bufio.NewReader(strings.NewReader(string(framed)))
	text, err := readFrame(rd)
	if err != nil {
		t.Fatal(err)
	}
	if rest, _ := io.ReadAll(rd); len(rest) != 0 {
		t.Fatalf("%d bytes behind the frame", len(rest))
	}
	m, err := parse5424(text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAMessageHasTheRecordAsFieldsAndAsJSON(t *testing.T) {
	r := audittest.Record(1)
	r.Outcome, r.Name, r.Detail = audit.Denied, `svc/"x]\`, "line\nline"
	m := format(t, testHeader(), r)
	if m.pri != 13*8+4 || m.host != "host.example" || m.app != "keyhold" || m.procID != "77" || m.msgID != "Decrypt" || m.sdID != "keyhold@32473" {
		t.Errorf("got %+v", m)
	}
	if got := m.param("principal"); got != r.Name {
		t.Errorf("got the principal %q, want %q", got, r.Name)
	}
	if got := m.param("detail"); got != "line\ufffdline" {
		t.Errorf("got the detail %q: a line could be forged", got)
	}
	if m.param("origin") != "keyhold.test/n1/12" || m.param("position") != "n1-000012-3456" || m.param("request_id") != "r-1" {
		t.Errorf("got %v", m.params)
	}
	var rec Record
	if err := json.Unmarshal([]byte(m.text), &rec); err != nil || rec.Detail != r.Detail || rec.Principal != r.Name {
		t.Errorf("got %q %v", m.text, err)
	}
	for _, tc := range []struct {
		o    audit.Outcome
		want int
	}{{audit.OK, 6}, {audit.Denied, 4}, {audit.Refused, 4}, {audit.Failed, 3}, {audit.Withheld, 4}, {audit.DryRun, 6}, {audit.Replayed, 6}} {
		r.Outcome = tc.o
		if got := format(t, testHeader(), r).pri % 8; got != tc.want {
			t.Errorf("%v has severity %d, want %d", tc.o, got, tc.want)
		}
	}
}

func TestALongRecordIsShortenedAndSaysSo(t *testing.T) {
	r := audittest.Record(1)
	r.Items = make([]audit.Item, audit.MaxItems)
	m := format(t, testHeader(), r)
	if m.param("left_out") != "items" || m.param("items") != "4096" || !json.Valid([]byte(m.text)) {
		t.Errorf("got %v and %d bytes of text", m.params, len(m.text))
	}
	h := testHeader()
	h.mostLength = MinMessageBytes
	r.Items, r.Detail = nil, strings.Repeat("d", audit.MaxDetail)
	if m = format(t, h, r); m.param("left_out") != "json" || m.text != "" || m.param("detail") != r.Detail {
		t.Errorf("got %v", m)
	}
	r.Items = make([]audit.Item, 4)
	if m = format(t, h, r); m.param("left_out") != "json" {
		t.Errorf("got %v", m)
	}
}

func FuzzMessage(f *testing.F) {
	f.Add("svc/orders", "why", "what", "policy", "host")
	f.Add("\"]\\\n\x00", "\xff\xfe]", "\u2028\u0085", `="`, "h ost")
	f.Fuzz(func(t *testing.T, name, reason, detail, resource, host string) {
		r := audittest.Record(1)
		r.Name, r.Reason, r.Detail, r.Resource = name, reason, detail, resource
		h := testHeader()
		h.host, h.mostLength = host, 16<<10
		m := format(t, h, r)
		for param, want := range map[string]string{"principal": name, "reason": reason, "detail": detail, "resource": resource} {
			want = strings.Map(func(r rune) rune {
				if r < 0x20 || r >= 0x7f && r < 0xa0 {
					return utf8.RuneError
				}
				return r
			}, want)
			if got := m.param(param); got != want {
				t.Fatalf("%s: got %q, want %q", param, got, want)
			}
		}
	})
}

// listener is a syslog receiver of ours, which can be made to misbehave.
type listener struct {
	net.Listener
	ca *authority

	mu    sync.Mutex
	seen  map[string]int // by position
	conns []net.Conn
}

func listen(t *testing.T, serve func(l *listener, c net.Conn)) *listener {
	t.Helper()
	l := &listener{ca: newAuthority(t), seen: make(map[string]int)}
	var err error
	if l.Listener, err = tls.Listen("tcp", "127.0.0.1:0", l.ca.server(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(); l.hangUp() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			l.mu.Lock()
			l.conns = append(l.conns, c)
			l.mu.Unlock()
			go serve(l, c)
		}
	}()
	return l
}

func (l *listener) hangUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		_ = c.Close()
	}
	l.conns = nil
}

func (l *listener) records() (n, twice int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range l.seen {
		if k > 1 {
			twice++
		}
	}
	return len(l.seen), twice
}

func (l *listener) sink(name string) Sink {
	return Sink{Name: name, Kind: Syslog, Address: l.Addr().String(), CAFile: l.ca.file("ca.pem"), Facility: 13}
}

// takes reads messages until the connection ends.
func takes(l *listener, c net.Conn) {
	defer c.Close()
	for r := bufio.NewReader(c); l.take(r); {
	}
}

// take reads one message. It tells whether there was one.
func (l *listener) take(r *bufio.Reader) bool {
	text, err := readFrame(r)
	if err != nil {
		return false
	}
	m, err := parse5424(text)
	if err != nil {
		panic(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen[m.param("position")]++
	return true
}

func TestASyslogReceiverGetsEverything(t *testing.T) {
	b, l := newBench(t), listen(t, takes)
	b.write(many())
	set := b.ship(l.sink("siem"))
	shipped(t, set, "siem")
	if n, twice := l.records(); n != b.written || twice != 0 {
		t.Errorf("got %d records, %d of them twice; want %d", n, twice, b.written)
	}
	// A connection that ends while nothing is unsettled is no failure.
	l.hangUp()
	b.write(1)
	shipped(t, set, "siem")
	if n, _ := l.records(); n != b.written {
		t.Errorf("got %d records, want %d", n, b.written)
	}
}

// What was written before a connection broke may never have been read: it is sent again, all of it, wherever in a batch it broke.
func TestWhatHadNotSettledIsSentAgain(t *testing.T) {
	t.Parallel() // it waits more than it works
	b := newBench(t)
	bad := make(chan struct{}, 3)
	for range cap(bad) {
		bad <- struct{}{}
	}
	l := listen(t, func(l *listener, c net.Conn) {
		select {
		case <-bad: // loses what was written behind the 300th message
			r := bufio.NewReader(c)
			for range 300 {
				l.take(r)
			}
			_ = c.(*tls.Conn).NetConn().Close()
		default:
			takes(l, c)
		}
	})
	b.write(2000)
	s := l.sink("siem")
	s.BatchRecords = 20
	b.pace.Settle = 2 * time.Second // longer than this machine may be busy with something else
	set := b.ship(s)
	shipped(t, set, "siem")
	if n, _ := l.records(); n != b.written {
		t.Errorf("got %d records, want %d", n, b.written)
	}
	if s := status(t, set, "siem"); s.Failures < 3 {
		t.Errorf("got %+v: broken connections were not noticed", s)
	}
}

// The same when there is nothing more to send: nothing is written on which the end would show.
func TestAnEndIsNoticedWithoutAWrite(t *testing.T) {
	t.Parallel() // it waits more than it works
	b := newBench(t)
	bad := make(chan struct{}, 1)
	bad <- struct{}{}
	l := listen(t, func(l *listener, c net.Conn) {
		select {
		case <-bad:
			l.take(bufio.NewReaderSize(c, 16))
			time.Sleep(300 * time.Millisecond) // the machine has taken everything by then
			_ = c.(*tls.Conn).NetConn().Close()
		default:
			takes(l, c)
		}
	})
	b.write(100)
	b.pace.Settle = 2 * time.Second
	set := b.ship(l.sink("siem"))
	shipped(t, set, "siem")
	if n, _ := l.records(); n != b.written {
		t.Errorf("got %d records, want %d", n, b.written)
	}
	if s := status(t, set, "siem"); s.Failures == 0 {
		t.Errorf("got %+v", s)
	}
}

// A receiver that accepts and never reads takes what its buffers hold; the cursor does not go past that, and everything comes when one
// that reads is there.
func TestABlackHoleHoldsOneSinkOnly(t *testing.T) {
	t.Parallel() // it waits more than it works
	b := newBench(t)
	r := newReceiver(t, webhooks)
	read := make(chan struct{})
	l := listen(t, func(l *listener, c net.Conn) {
		select {
		case <-read:
			takes(l, c)
		default:
			_ = c.(*tls.Conn).Handshake()
			<-read
		}
	})
	s := l.sink("hole")
	s.Timeout = 200 * time.Millisecond
	b.write(20_000) // more than the buffers between
	set := b.ship(s, r.webhook("hook"))
	shipped(t, set, "hook")
	eventually(t, "a failure", func() bool { return status(t, set, "hole").Failures > 0 })
	if st := status(t, set, "hole"); st.Lag == 0 {
		t.Errorf("got %+v", st)
	}
	if n, twice := r.count(); n != b.written || twice != 0 {
		t.Errorf("the other sink got %d records, %d of them twice; want %d", n, twice, b.written)
	}
	close(read)
	shipped(t, set, "hole")
	if n, _ := l.records(); n != b.written {
		t.Errorf("got %d records, want %d", n, b.written)
	}
}

// A listener whose backlog is full answers no SYN: the connection attempt has a timeout too, and a stop does not wait for it.
func TestAHostThatDoesNotAnswerHasATimeout(t *testing.T) {
	t.Parallel() // it waits more than it works
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	shrink(t, raw)
	var held []net.Conn
	defer func() {
		for _, c := range held {
			c.Close()
		}
	}()
	for { // nobody accepts: the queue fills
		c, err := net.DialTimeout("tcp", l.Addr().String(), 300*time.Millisecond)
		if err != nil {
			break
		}
		if held = append(held, c); len(held) > 10_000 {
			t.Fatal("the backlog does not fill")
		}
	}
	b := newBench(t)
	set := b.ship(Sink{Name: "hole", Kind: Syslog, Address: l.Addr().String(), Timeout: 50 * time.Millisecond},
		Sink{Name: "web", Kind: Webhook, URL: "https://" + l.Addr().String(), Sign: sign, Timeout: time.Hour})
	eventually(t, "timeouts", func() bool { return status(t, set, "hole").Failures >= 2 })
	if err := set.Close(); err != nil {
		t.Error(err)
	}
}

func TestAReceiverMustProveItsName(t *testing.T) {
	b, l := newBench(t), listen(t, takes)
	s := l.sink("siem")
	s.CAFile = newAuthority(t).file("ca.pem")
	set := b.ship(s)
	eventually(t, "a failure", func() bool { return status(t, set, "siem").State == Failing })
	if st := status(t, set, "siem"); !strings.Contains(st.Error, "TLS") || !strings.Contains(st.Error, "unknown authority") {
		t.Errorf("got %q", st.Error)
	}
	if n, _ := l.records(); n != 0 {
		t.Errorf("it was sent %d records", n)
	}
}

// rsyslog is the real receiver: TLS with client certificates, RFC 5424 parsed by it into a line of JSON for each message.
func TestRsyslogTakesEverything(t *testing.T) {
	t.Parallel() // it waits more than it works
	program, err := exec.LookPath("rsyslogd")
	if err != nil {
		if program = "/usr/sbin/rsyslogd"; !exists(program) {
			t.Fatalf("rsyslogd is missing: scripts/deps.sh installs it (%v)", err)
		}
	}
	ca, dir := newAuthority(t), t.TempDir()
	ca.issue(t, "server", []string{"localhost"})
	ca.issue(t, "client", []string{"keyhold.example"})
	port := freePort(t)
	out, conf := filepath.Join(dir, "out.log"), filepath.Join(dir, "rsyslog.conf")
	text := fmt.Sprintf(`
global(workDirectory="%[1]s" maxMessageSize="64k" defaultNetstreamDriver="gtls" parser.escapeControlCharactersOnReceive="off"
  defaultNetstreamDriverCAFile="%[2]s" defaultNetstreamDriverCertFile="%[3]s" defaultNetstreamDriverKeyFile="%[4]s")
module(load="imtcp" StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="x509/name" PermittedPeer=["keyhold.example"])
template(name="l" type="string" string="%%PRI%% %%HOSTNAME%% %%APP-NAME%% %%MSGID%% %%STRUCTURED-DATA%%\t%%msg%%\n")
input(type="imtcp" port="%[5]d" ruleset="r")
ruleset(name="r") { action(type="omfile" file="%[6]s" template="l" asyncWriting="off" flushOnTXEnd="on") }
`, dir, ca.file("ca.pem"), ca.file("server.pem"), ca.file("server.key"), port, out)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	c := exec.Command(program, "-n", "-f", conf, "-i", filepath.Join(dir, "pid"))
	c.Stdout, c.Stderr = &said, &said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		if t.Failed() {
			t.Log(said.String())
		}
	})
	b := newBench(t)
	b.write(many())
	r := audittest.Record(b.written)
	r.Name, r.Reason = `svc/"quoted]\`, "größer"
	if _, err := b.log.Append(r); err != nil {
		t.Fatal(err)
	}
	b.written++
	set := b.ship(Sink{
		Name: "siem", Kind: Syslog, Address: net.JoinHostPort("localhost", strconv.Itoa(port)), CAFile: ca.file("ca.pem"), CertFile: ca.file("client.pem"),
		KeyFile: ca.file("client.key"), Facility: 13,
	})
	shipped(t, set, "siem")
	var lines []string
	eventually(t, "all lines", func() bool {
		text, err := os.ReadFile(out)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		lines = strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
		return len(lines) >= b.written
	})
	var positions []string
	for _, l := range lines {
		head, msg, ok := strings.Cut(l, "\t")
		if !ok || !strings.HasPrefix(head, "110 host.example keyhold ") || !strings.Contains(head, "[keyhold@32473 origin=") {
			t.Fatalf("rsyslog read %q", l)
		}
		var rec Record
		if err := json.Unmarshal([]byte(strings.TrimPrefix(strings.TrimSpace(msg), bom)), &rec); err != nil {
			t.Fatalf("%v in %q", err, msg)
		}
		positions = append(positions, rec.Position)
		if rec.Principal == r.Name && (rec.Reason != r.Reason || !strings.Contains(head, `principal="svc/\"quoted\]\\"`)) {
			t.Errorf("rsyslog read %q", l)
		}
	}
	slices.Sort(positions)
	if n := len(slices.Compact(positions)); n != b.written {
		t.Errorf("rsyslog has %d records, want %d", n, b.written)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
