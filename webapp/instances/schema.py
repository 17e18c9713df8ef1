"""What the API says of an instance that is being made."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from webapp.instances.models import Instance
from webapp.instances.states import STEPS, Status
from webapp.instances.timeline import State, StepView


class _Body(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class ProvisioningStep(_Body):
    """One step, in the order of the timeline. Seconds are null where they are not known."""

    name: str
    phase: Status
    title: str
    state: State
    elapsed_s: float | None
    usual_s: float | None


class ProvisioningFailure(_Body):
    """Where it stopped, why, and what to do about it."""

    step: str
    message: str
    remedy: str


class ProvisioningStatus(_Body):
    """How far an instance is. `step`: the one of `status` while it is being made, else empty."""

    status: Status
    step: str
    steps: list[ProvisioningStep]
    instance_url: str
    failure: ProvisioningFailure | None
    updated_at: datetime

    @classmethod
    def of(cls, instance: Instance, views: list[StepView], url: str) -> "ProvisioningStatus":
        """The status of `instance`, whose stages are `views`, reached at `url`."""
        failure = ProvisioningFailure(
            step=instance.failed_step, message=instance.failure, remedy=instance.remedy
        )
        return cls(
            status=instance.status,
            step=instance.status if instance.status in STEPS else "",
            steps=[
                ProvisioningStep(
                    name=view.step,
                    phase=view.phase,
                    title=view.title,
                    state=view.state,
                    elapsed_s=view.elapsed_s,
                    usual_s=view.usual_s,
                )
                for view in views
            ],
            instance_url=url,
            failure=failure if instance.status == "failed" else None,
            updated_at=instance.updated_at,
        )
