"""States of runs that nobody ran: what a checkpoint in the middle of an epoch would hold."""


def state_after(dataset, batches):
    """The state of a run over a fresh `dataset`, in one process, that was given so many batches.

    The load says how far the run is; what its next state says beside that the dataset counts, as a run would.
    """
    dataset.load_state_dict({**dataset.state_dict(), "batch": batches})
    return dataset.state_dict()
