package approval

import (
	"slices"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
)

// New checks what a request for approval says and lets it begin. life zero is DefaultLife.
func New(r Request, now time.Time, life time.Duration) (Request, error) {
	if life == 0 {
		life = DefaultLife
	}
	if life < MinLife || life > MaxLife {
		return Request{}, kms.Errorf(kms.CodeBadRequest, "a request for approval lives for %s to %s, not %s", MinLife, MaxLife, life)
	}
	if r.Needed < 1 || r.Needed > MaxApprovers {
		return Request{}, kms.Errorf(kms.CodeBadRequest, "a request needs 1 to %d approvers, not %d", MaxApprovers, r.Needed)
	}
	r.Votes, r.End, r.Ended = nil, Open, time.Time{}
	// Whole seconds, rounded down: it never lives longer than was asked for.
	r.Created, r.Expires = now.UTC(), now.UTC().Add(life).Truncate(time.Second)
	return r, nil
}

// Give adds a vote. An approval can be taken back by refusing; a refusal is for ever.
func (r Request) Give(by Party, approves bool, reason string, now time.Time) (Request, error) {
	if st := r.StateAt(now); st.Over() {
		return r, r.over(st)
	}
	if by.Method != kms.AuthToken && by.Method != kms.AuthCertificate || by.Credential == "" {
		return r, kms.Errorf(kms.CodeDuties, "approvals are given by the holder of a token or of a client certificate, so that it can be told later whether the credential still stands")
	}
	if r.By.Shares(&by) {
		return r, kms.Errorf(kms.CodeDuties, "who asked for it, or holds the same credential, cannot approve or refuse it; keyhold approval withdraw takes it back")
	}
	votes := make([]Vote, 0, len(r.Votes)+1)
	for _, v := range r.Votes {
		switch {
		case !v.By.Shares(&by):
			votes = append(votes, v)
		case approves:
			return r, kms.Errorf(kms.CodeExists, "this principal, or this credential under another name, has approved it already")
		}
	}
	if len(votes) == MaxApprovers && approves {
		return r, kms.Errorf(kms.CodeTooLarge, "%d have approved it already, and no more are counted", MaxApprovers)
	}
	r.Votes = append(votes, Vote{By: by, For: approves, Reason: reason, At: now.UTC()})
	if !approves {
		r.End, r.Ended = EndRefused, now.UTC()
	}
	return r, nil
}

// Withdraw takes the request back. Only who asked can.
func (r Request) Withdraw(by Party, now time.Time) (Request, error) {
	if st := r.StateAt(now); st.Over() {
		return r, r.over(st)
	}
	if !r.By.Is(&by) {
		return r, kms.Errorf(kms.CodeDuties, "only who asked for it can withdraw it; approvers can refuse it")
	}
	r.End, r.Ended = EndWithdrawn, now.UTC()
	return r, nil
}

// Use ends the request by doing what it was asked for. needed is how many approvers the rules of now want; the request never needs fewer
// than when it was asked. stands tells whether an approver's credential still stands. It answers who is counted.
func (r Request) Use(by Party, digest [32]byte, needed int, now time.Time, stands func(*Vote) (bool, error)) (Request, []Party, error) {
	if !r.By.Is(&by) {
		return r, nil, kms.Errorf(kms.CodeNotApproved, "approval %s was asked for by somebody else", r.ID)
	}
	if r.Digest != digest { // no secret: it may be compared in any time
		return r, nil, kms.Errorf(kms.CodeNotApproved, "approval %s is for another request: what is asked for has to be exactly what was approved", r.ID)
	}
	if st := r.StateAt(now); st.Over() {
		return r, nil, r.over(st)
	}
	var counted []Party
	fallen := 0
	for i := range r.Votes {
		by := &r.Votes[i].By
		ok, err := stands(&r.Votes[i])
		switch {
		case err != nil:
			return r, nil, err
		case !ok:
			fallen++
		case !r.By.Shares(by) && !slices.ContainsFunc(counted, func(c Party) bool { return c.Shares(by) }):
			counted = append(counted, *by)
		}
	}
	if needed = max(needed, r.Needed, 1); len(counted) < needed {
		err := kms.Errorf(kms.CodeNotApproved, "approval %s has %d of the %d approvers it needs", r.ID, len(counted), needed)
		if fallen > 0 {
			err = kms.Errorf(kms.CodeNotApproved, "approval %s has %d of the %d approvers it needs: the credentials of %d more no longer stand", r.ID, len(counted), needed, fallen)
		}
		err.Next = "keyhold approval show " + r.ID.String() + " shows who has approved it; others approve it with keyhold approval approve"
		return r, nil, err
	}
	r.End, r.Ended = EndUsed, now.UTC()
	return r, counted, nil
}

// over is the refusal of whatever is tried with a request that has ended.
func (r *Request) over(st State) *kms.Error {
	at := r.Ended
	if st == Expired {
		at = r.Expires
	}
	err := kms.Errorf(kms.CodeNotApproved, "approval %s is over: %s at %s", r.ID, st, at.UTC().Format(time.RFC3339))
	err.Next = "ask for it anew: repeat the request with --request-approval"
	return err
}
