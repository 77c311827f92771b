// Package cosign asks witnesses for their cosignatures under the log's checkpoints (C2SP tlog-witness, tlog-cosignature) and hands
// them to the log, which keeps them.
//
// Nothing waits for it: it works behind the checkpoints, at most once an interval, and a witness that does not answer is asked less and less
// often. It follows no redirect, uses no proxy, and reads a bounded answer of which only cosignatures that verify, and are of
// the present, are kept. A witness that saw another history of the log is named as such: it knows something that the log's files do not show.
package cosign

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/keyhold/keyhold/internal/audit"
	"github.com/keyhold/keyhold/internal/audit/tree"
)

// Times and limits.
const (
	DefaultEvery   = 10 * time.Second // between checkpoints that are sent
	DefaultTimeout = 5 * time.Second  // of one request
	LastTimeout    = 2 * time.Second  // of everything at the end
	lastPause      = 10 * time.Minute // between attempts with a witness that fails
	maxSkew        = 10 * time.Minute // between a cosignature's time and ours
	maxAnswer      = 64 << 10         // bytes
	maxHeader      = 16 << 10
	maxTries       = 3 // of one checkpoint with one witness: its first, and what it learns from a conflict
)

// Witness is one to be asked.
type Witness struct {
	Key *tree.Witness
	URL string // submission prefix
}

// ParseWitness reads "VERIFIER-KEY URL".
func ParseWitness(s string) (Witness, error) {
	key, prefix, ok := strings.Cut(s, " ")
	if !ok {
		return Witness{}, errors.New("want a verifier key, a space and a URL")
	}
	k, err := tree.ParseWitness(key)
	if err != nil {
		return Witness{}, err
	}
	u, err := url.Parse(prefix)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.ContainsAny(prefix, " \t") {
		return Witness{}, fmt.Errorf("%q is not the URL of a witness: want https://HOST and a path", prefix)
	}
	return Witness{k, strings.TrimSuffix(prefix, "/")}, nil
}

// Config says whom to ask, and how often.
type Config struct {
	Log       *audit.Log
	Witnesses []Witness
	Dir       string         // holds the file of cursors
	Every     time.Duration  // 0: DefaultEvery
	Timeout   time.Duration  // 0: DefaultTimeout
	Roots     *x509.CertPool // whose certificates are believed; nil: the system's
	Now       func() time.Time
	Logger    *slog.Logger
}

// Publisher sends checkpoints to witnesses.
type Publisher struct {
	cfg     Config
	client  *http.Client
	end     chan struct{}
	working context.Context //nolint:containedctx // the publisher is its own goroutine, and this ends it
	cancel  context.CancelFunc
	done    sync.WaitGroup

	// The goroutine's own.
	last   time.Time // of the newest round
	newest target    // the checkpoint that was sent last
	before target    // the end of the boot epoch before

	mu   sync.Mutex // guards what follows
	each []*asked
}

// target is a checkpoint to be cosigned, and the cosignatures that it has.
type target struct {
	tree.Checkpoint
	epoch uint64
	note  []byte
	lines map[*asked]string
}

// asked is how it stands with a witness.
type asked struct {
	Witness
	state   audit.WitnessState
	cursors map[string]uint64 // records under the newest checkpoint of an origin that it cosigned
	fails   int
	after   time.Time // when it is asked again
}

// New makes a publisher, which does nothing until it is started.
func New(cfg Config) *Publisher {
	if cfg.Every == 0 {
		cfg.Every = DefaultEvery
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Publisher{cfg: cfg, end: make(chan struct{})}
	p.working, p.cancel = context.WithCancel(context.Background())
	p.client = &http.Client{
		// No proxy: what the log tells is for the witness alone, and no environment variable decides where it goes.
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: cfg.Roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
			MaxResponseHeaderBytes: maxHeader, MaxConnsPerHost: 2, IdleConnTimeout: 3 * cfg.Every, DisableCompression: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	cursors := readCursors(cfg.Dir)
	for _, w := range cfg.Witnesses {
		a := &asked{Witness: w, cursors: cursors[w.Key.Key()], state: audit.WitnessState{Name: w.Key.Name(), URL: w.URL, State: audit.WitnessWaiting}}
		if a.cursors == nil {
			a.cursors = map[string]uint64{}
		}
		p.each = append(p.each, a)
	}
	return p
}

// Start begins to send.
func (p *Publisher) Start() { p.done.Go(p.run) }

// Close sends the newest checkpoint once more, to witnesses that answer, and returns after LastTimeout at most.
func (p *Publisher) Close() {
	close(p.end)
	p.done.Wait()
	p.client.CloseIdleConnections()
}

// States tell how it stands with each witness.
func (p *Publisher) States() []audit.WitnessState {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []audit.WitnessState
	for _, a := range p.each {
		all = append(all, a.state)
	}
	return all
}

// run sends until the end.
func (p *Publisher) run() {
	finished := make(chan struct{})
	defer close(finished)
	go func() { // ends the round that is under way, and the last one after its time
		select {
		case <-p.end:
		case <-finished:
		}
		p.cancel()
	}()
	for {
		msg, newer := p.cfg.Log.Published()
		timer := time.NewTimer(p.untilDue(msg))
		select {
		case <-p.end:
			timer.Stop()
			ctx, cancel := context.WithTimeout(context.Background(), LastTimeout)
			defer cancel()
			p.round(ctx)
			return
		case <-newer:
		case <-timer.C:
			p.round(p.working)
		}
		timer.Stop()
	}
}

// idle is how long nothing is looked at if nothing is due.
const idle = time.Hour

// untilDue is the time until a round has something to send.
func (p *Publisher) untilDue(msg []byte) time.Duration {
	if msg == nil {
		return idle
	}
	now := p.cfg.Now()
	next := p.last.Add(p.cfg.Every)
	if bytes.Equal(msg, p.newest.note) { // nothing new: those that owe a cosignature are asked again at their time
		soonest := now.Add(idle)
		for _, t := range []*target{&p.before, &p.newest} {
			for _, a := range p.owing(t) {
				if a.after.Before(soonest) {
					soonest = a.after
				}
			}
		}
		if soonest.After(next) {
			next = soonest
		}
	}
	return max(0, next.Sub(now))
}

// owing are the witnesses whose cosignature of a checkpoint is missing and can be had: not of those that cosigned a later one, nor once more of the
// end of an earlier epoch.
func (p *Publisher) owing(t *target) []*asked {
	if t.note == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []*asked
	for _, a := range p.each {
		if at := a.cursors[t.Origin]; t.lines[a] == "" && (at < t.Size || at == t.Size && t == &p.newest) {
			all = append(all, a)
		}
	}
	return all
}

// round asks all witnesses that are due for what they owe, at the same time.
func (p *Publisher) round(ctx context.Context) {
	p.last = p.cfg.Now()
	msg, _ := p.cfg.Log.Published()
	if msg == nil {
		return
	}
	if p.newest.note == nil {
		p.before.set(p.cfg.Log.Ended())
	}
	if !bytes.Equal(msg, p.newest.note) {
		p.newest.set(msg)
	}
	for _, t := range []*target{&p.before, &p.newest} {
		p.collect(ctx, t)
	}
	p.mu.Lock()
	err := writeCursors(p.cfg.Dir, p.each)
	p.mu.Unlock()
	if err != nil {
		p.cfg.Logger.Warn("witness_cursors_not_written", "error", err)
	}
}

func (t *target) set(msg []byte) {
	*t = target{note: msg, lines: map[*asked]string{}}
	c, err := tree.Unverified(msg)
	if err == nil {
		t.Checkpoint = c
		_, _, t.epoch, _ = audit.ParseOrigin(c.Origin)
	} else {
		t.note = nil
	}
}

// collect gathers the cosignatures of a checkpoint and hands it to the log with all that it has.
func (p *Publisher) collect(ctx context.Context, t *target) {
	var asking sync.WaitGroup
	var mu sync.Mutex // guards lines
	lines := map[*asked]string{}
	now := p.cfg.Now()
	for _, a := range p.owing(t) {
		if now.Before(a.after) {
			continue
		}
		asking.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
			defer cancel()
			line, at, err := p.ask(ctx, a, t)
			p.settle(a, t, at, err)
			if line != "" {
				mu.Lock()
				lines[a] = line
				mu.Unlock()
			}
		})
	}
	asking.Wait()
	if len(lines) == 0 {
		return
	}
	cosigned := bytes.Clone(t.note)
	for _, a := range p.each {
		if lines[a] != "" {
			t.lines[a] = lines[a]
		}
		cosigned = append(cosigned, t.lines[a]...)
	}
	if _, err := p.cfg.Log.Cosigned(cosigned); err != nil {
		p.cfg.Logger.Warn("cosigned_checkpoint_not_kept", "error", err)
	}
}

// settle keeps how a request ended.
func (p *Publisher) settle(a *asked, t *target, at time.Time, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := a.state.State
	if err == nil {
		a.fails, a.after = 0, time.Time{}
		a.state.State, a.state.Problem = audit.WitnessOK, ""
		if !at.IsZero() {
			a.state.Origin, a.state.Size, a.state.At = t.Origin, t.Size, at
		}
		if before != audit.WitnessOK && before != audit.WitnessWaiting {
			p.cfg.Logger.Info("witness_recovered", "witness", a.state.Name)
		}
		return
	}
	if errors.Is(err, context.Canceled) && p.working.Err() != nil {
		return // we are stopping: that is not the witness's failure
	}
	pause := min(p.cfg.Every<<min(a.fails, 16), lastPause) //nolint:gosec // G115: small
	a.after = p.cfg.Now().Add(pause/2 + rand.N(pause))     //nolint:gosec // G404: spreads retries
	a.fails++
	a.state.Failed++
	a.state.State, a.state.Problem = audit.WitnessFailing, err.Error()
	level := slog.LevelWarn
	if errors.Is(err, errRefuses) {
		a.state.State, level = audit.WitnessRefusing, slog.LevelError
	}
	if before != a.state.State {
		p.cfg.Logger.Log(context.Background(), level, "witness_trouble", "witness", a.state.Name, "state", a.state.State, "origin", t.Origin, "size", t.Size, "error", err)
	}
}
