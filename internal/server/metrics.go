package server

import (
	"net/http"
	"net/netip"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/keyhold/keyhold/internal/config"
	"github.com/keyhold/keyhold/internal/kms"
)

// Count is one of the engine's counters.
type Count struct {
	Action  kms.Action
	Dialect kms.Dialect
	Outcome string
	N       uint64
}

// Figure is one number from elsewhere: the audit log, the store, the keyring, authn.
type Figure struct {
	Name    string // "audit_records_total"; keyhold_ is put before it
	Help    string
	Counter bool // it only grows
	Read    func() float64
}

// Metrics is the server's registry: one of its own, filled at start; nothing is looked up or formatted while requests are served.
type Metrics struct {
	registry *prometheus.Registry
	mounts   *prometheus.HistogramVec
	statuses *prometheus.CounterVec
	actions  [kms.ActionCount]prometheus.Observer
	panics   atomic.Uint64
	reloads  atomic.Uint64 // that failed
}

// buckets of latencies, in seconds: from a cached HMAC to a disk in trouble.
func latencyBuckets() []float64 {
	return []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10}
}

// NewMetrics makes the registry.
func NewMetrics(version string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	m.mounts = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "keyhold_http_request_duration_seconds", Help: "Time to answer a request, by where it was served.", Buckets: latencyBuckets(),
	}, []string{"mount"})
	m.statuses = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "keyhold_http_requests_total", Help: "Requests answered, by where they were served and the class of the status.",
	}, []string{"mount", "status"})
	actions := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "keyhold_operation_duration_seconds", Help: "Time of an operation, its durable record included.", Buckets: latencyBuckets(),
	}, []string{"action"})
	for _, a := range kms.AllActions() {
		m.actions[a] = actions.WithLabelValues(a.String())
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "keyhold_build_info", Help: "1, labelled with what was built.", ConstLabels: prometheus.Labels{"version": version, "go": runtime.Version()},
	})
	build.Set(1)
	m.registry.MustRegister(m.mounts, m.statuses, actions, build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.Add(
		Figure{"http_panics_total", "Handlers that panicked.", true, func() float64 { return float64(m.panics.Load()) }},
		Figure{"tls_reload_failures_total", "Times that a changed certificate could not be read.", true, func() float64 { return float64(m.reloads.Load()) }},
	)
	return m
}

// Observe notes how long an operation took.
func (m *Metrics) Observe(a kms.Action, took time.Duration) {
	if a > 0 && int(a) < kms.ActionCount {
		m.actions[a].Observe(took.Seconds())
	}
}

// Add registers figures; a name that is there already is a mistake of whoever lists the parts, and panics.
func (m *Metrics) Add(figures ...Figure) { m.AddLabelled(nil, figures...) }

// AddLabelled registers figures of one of several parts of a kind: the labels, which must be few and fixed, tell them apart.
func (m *Metrics) AddLabelled(labels map[string]string, figures ...Figure) {
	for _, f := range figures {
		if f.Counter {
			m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "keyhold_" + f.Name, Help: f.Help, ConstLabels: labels}, f.Read))
		} else {
			m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "keyhold_" + f.Name, Help: f.Help, ConstLabels: labels}, f.Read))
		}
	}
}

// AddCounts registers the engine's counters; read answers those that are not zero.
func (m *Metrics) AddCounts(read func() []Count) {
	m.registry.MustRegister(&collector{
		prometheus.NewDesc("keyhold_operations_total", "Operations, by action, dialect and outcome.", []string{"action", "dialect", "outcome"}, nil),
		func(d *prometheus.Desc, out chan<- prometheus.Metric) {
			for _, c := range read() {
				out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(c.N), c.Action.String(), c.Dialect.String(), c.Outcome)
			}
		},
	})
}

// collector is a family of metrics that are kept elsewhere.
type collector struct {
	desc    *prometheus.Desc
	collect func(*prometheus.Desc, chan<- prometheus.Metric)
}

func (c *collector) Describe(out chan<- *prometheus.Desc) { out <- c.desc }
func (c *collector) Collect(out chan<- prometheus.Metric) { c.collect(c.desc, out) }

// watch registers what the server itself knows.
func (m *Metrics) watch(s *Server, conns *connLimit) {
	m.registry.MustRegister(&collector{
		prometheus.NewDesc("keyhold_refused_total", "Requests refused before the engine saw them: not authenticated, not to be decoded.", []string{"code"}, nil),
		func(d *prometheus.Desc, out chan<- prometheus.Metric) {
			for code, n := range s.strangers.refused {
				if n := n.Load(); n > 0 {
					out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), code.String())
				}
			}
		},
	})
	m.Add(
		Figure{"http_requests_in_flight", "Requests being served.", false, func() float64 { return float64(s.inFlight.Load()) }},
		Figure{"connections", "Open TLS connections.", false, func() float64 { return float64(conns.current()) }},
		Figure{"connections_refused_total", "Connections closed because too many were open.", true, func() float64 { return float64(conns.rejected.Load()) }},
		Figure{"log_lines_left_out_total", "Lines about strangers that were not logged.", true, func() float64 { return float64(s.strangers.dropped.Load()) }},
		Figure{"tls_certificate_expiry_timestamp_seconds", "When the server's certificate ends, Unix time.", false, func() float64 { return float64(s.certs.expires().Unix()) }},
	)
}

// mounted are the metrics of one mount, found once, and how it refuses.
type mounted struct {
	refuse  func(http.ResponseWriter, *kms.Error) // nil: as the native API
	latency prometheus.Observer
	classes [6]prometheus.Counter // by status / 100
}

func (m *Metrics) mount(name string) *mounted {
	at := &mounted{latency: m.mounts.WithLabelValues(name)}
	for class, label := range []string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"} {
		at.classes[class] = m.statuses.WithLabelValues(name, label)
	}
	return at
}

func (m *mounted) done(status int, took time.Duration) {
	m.latency.Observe(took.Seconds())
	if status == 0 {
		status = http.StatusOK // net/http's answer when a handler writes nothing
	}
	m.classes[min(status/100, len(m.classes)-1)].Inc()
}

const (
	maxScrapes    = 4 // at the same time
	scrapeTimeout = 10 * time.Second
)

func (m *Metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: maxScrapes, Timeout: scrapeTimeout,
	})
}

// serveMetrics answers /metrics on the ordinary listeners and the local socket.
func (s *Server) serveMetrics(scrape http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := s.mayReadMetrics(r); err != nil {
			writeError(w, r, err)
			return
		}
		if readOnly(w, r) {
			scrape.ServeHTTP(w, r)
		}
	}
}

func (s *Server) mayReadMetrics(r *http.Request) *kms.Error {
	access := s.set.Metrics.Serve
	if access == config.MetricsOff {
		return kms.Errorf(kms.CodeNotOnThisListener, "metrics are not served here")
	}
	remote, _ := netip.ParseAddrPort(r.RemoteAddr) // not valid: the local socket
	p, err := s.cfg.Authn.Authenticate(r.Context(), r.Header, r.TLS, remote)
	if err != nil {
		return kms.AsError(err)
	}
	switch {
	case p.Method == kms.AuthLocal:
		return nil
	case access == config.MetricsLocal:
		return kms.Errorf(kms.CodeOnlyLocal, "metrics are served over the local socket only")
	case s.cfg.MayReadMetrics == nil:
		return kms.Errorf(kms.CodeDenied, "nobody is allowed ReadHealth")
	}
	err = s.cfg.MayReadMetrics(r.Context(), kms.Call{
		Principal: p, Namespace: p.Namespace, Dialect: kms.DialectInternal, RequestID: r.Header.Get(RequestIDHeader), Remote: remote,
	})
	if err != nil {
		return kms.AsError(err)
	}
	return nil
}
