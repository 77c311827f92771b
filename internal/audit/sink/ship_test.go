package sink

import (
	"net/http"
	"os"
	"testing"
	"time"
)

// many is the number of records of the tests about completeness.
func many() int {
	if os.Getenv("KEYHOLD_LONG") == "1" {
		return 100_000
	}
	return 10_000
}

func TestAWebhookGetsEveryRecordSigned(t *testing.T) {
	b, r := newBench(t), newReceiver(t, webhooks)
	b.write(many())
	set := b.ship(r.webhook("hook"))
	shipped(t, set, "hook")
	if n, twice := r.count(); n != b.written || twice != 0 {
		t.Errorf("got %d records, %d of them twice; want %d", n, twice, b.written)
	}
	b.write(1)
	shipped(t, set, "hook")
	if s := status(t, set, "hook"); s.State != Shipping || s.Delivered != uint64(b.written) || s.Behind != 0 || time.Since(s.LastSuccess) > patience {
		t.Errorf("got %+v", s)
	}
}

func TestAReceiverWithTroubleGetsEverythingWhenItRecovers(t *testing.T) {
	b, r := newBench(t), newReceiver(t, webhooks)
	b.write(3000)
	r.answer = func(n int, w http.ResponseWriter) bool {
		if n <= 4 {
			w.WriteHeader(http.StatusInternalServerError)
		}
		return n <= 4
	}
	set := b.ship(r.webhook("hook"))
	shipped(t, set, "hook")
	if n, twice := r.count(); n != b.written || twice != 0 {
		t.Errorf("got %d records, %d of them twice; want %d", n, twice, b.written)
	}
	if s := status(t, set, "hook"); s.Failures < 4 || s.State != Shipping || s.Error != "" {
		t.Errorf("got %+v", s)
	}
}
