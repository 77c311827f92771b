package soft

import (
	"sync/atomic"

	"github.com/keyhold/keyhold/internal/kms"
)

// retryBusy is what a caller is told to wait, in milliseconds, when the pool is full: about one RSA-3072 key.
const retryBusy = 500

// pool bounds the slow work: how much of it runs, and how much of it waits.
type pool struct {
	workers chan struct{} // a place is taken by sending
	waiting atomic.Int64  // what runs or waits
	most    int64         // limit of waiting
}

func newPool(workers, queue int) *pool {
	return &pool{workers: make(chan struct{}, workers), most: int64(workers + queue)}
}

// enter takes a place, or says busy. The returned function gives it back.
func (p *pool) enter() (leave func(), err error) {
	if p.waiting.Add(1) > p.most {
		p.waiting.Add(-1)
		busy := kms.Errorf(kms.CodeBusy, "%d slow key generations or signatures run or wait already", p.most)
		busy.RetryMS = retryBusy
		return nil, busy
	}
	p.workers <- struct{}{}
	return func() {
		<-p.workers
		p.waiting.Add(-1)
	}, nil
}
