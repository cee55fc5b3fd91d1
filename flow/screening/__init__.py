"""`hlscape screen`: how well do landscape scores after a short training predict degradations after the full one?

Baldi et al. (arXiv:2502.08355) propose the loss landscape as an a-priori metric, but measure it on networks that are fully trained. Here
each point gets a *short twin*: the same point with a share of the epochs. A ridge regression predicts the degradation of the fully trained
point from the twin's landscape scores, its task score and the bit widths. A *configuration* is everything but the seed. Each point is
predicted by a regression that saw no point of its configuration, neither when its features were scaled nor when its regularisation was
chosen. The baseline is the same regression on the bit widths and the task score alone. With few configurations, name few scores in
``screen.metrics``: among many that say nothing, one that does is found less well, and the landscape of the twins takes longer.

``reports/<study>/screen.json`` is one document::

    study, level            name; level of the prediction intervals (0.8)
    points, configurations  how many of them have features and are ranked
    cost                    epochs: of the short and the full training, and their share; training_share: seconds of pretrain and train,
                            short over full, None if none is known; with_landscape_share: the same with the stage landscape on both sides;
                            screening_share: short training with landscape over full training with robustness, which it stands for
    dropped                 ids of landscape scores that some short training lacks, so that they were left out
    failed                  {point: why it could not be ranked}
    targets                 {id: target}

A target is::

    title, unit             words for an axis
    measured                how many ranked points have been measured
    spearman, spearman_ci   rank correlation of predicted with measured; 95 %, bootstrap over configurations, widened by what regressions
                            on targets that are shuffled among the configurations reach
    recall, recall_ci       share of the most robust quarter that is in the predicted quarter
    recall_random           what random choice gives
    rmse                    root mean square error of the predictions, in `unit`
    coverage                share of the measured points inside of their prediction interval
    cost_share              as cost.training_share
    baseline                {spearman, spearman_ci, recall, recall_ci, rmse} from bit widths and task score alone
    gain, gain_ci           spearman minus that of the baseline, or minus 0 where the baseline's is negative or None; paired
    points                  [{name, configuration, predicted, low, high, measured}] by rising prediction; low and high are None with too few
                            configurations for an interval, measured is None for a point that was not run
    metrics                 [{id, title, partial, ci, plain}]: rank correlation of one score with the target, partial: given bit widths
                            and task score, with its interval; strongest first; None where it is not defined

Correlations are None where one side is constant: a regression that found nothing to go by predicts the same for every point. Those of
predictions are of the standings of a tournament in which the regression that saw neither of two configurations says which point is above
(`flow.screening.regression.LeftOut.standings`); `predicted` is by the regression that saw all other configurations.
"""
